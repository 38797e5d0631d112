//! The parsed text of `/metrics`.

/// One reading of all metrics.
pub(crate) struct Metrics {
    text: String,
}

impl Metrics {
    pub(crate) fn new(text: String) -> Self {
        Self { text }
    }

    /// Returns the sum over all series of a metric whose labels contain each of the given ones (`outcome="stored"`).
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let of_name = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
        };
        self.text
            .lines()
            .filter(of_name)
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    }

    /// Returns the declared type of a metric that has a help text.
    pub(crate) fn kind(&self, name: &str) -> Option<&str> {
        let line = |word: &str| {
            let start = format!("# {word} {name} ");
            self.text.lines().find_map(|line| line.strip_prefix(start.as_str()))
        };
        line("HELP").filter(|help| !help.is_empty())?;
        line("TYPE")
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}
