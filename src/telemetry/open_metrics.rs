//! The metrics in the format of OpenMetrics 1.0, made from Prometheus' text format: the exporter has no such format.

/// The units that the ending of a name says.
const UNITS: [&str; 2] = ["seconds", "bytes"];

/// Converts the text format of Prometheus.
///
/// The family of a counter has no `_total`, which its samples keep; names that end in a unit declare it; bounds of
/// buckets are written as floating-point numbers; and the end is marked.
pub(super) fn from_text_format(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut help = None;
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' '))
        {
            let explanation = help.take().filter(|(described, _)| *described == name).map(|(_, text)| text);
            write_family(name, kind, explanation, &mut out);
        } else {
            write_sample(line, &mut out);
        }
    }
    out.push_str("# EOF\n");
    out
}

fn write_family(name: &str, kind: &str, help: Option<&str>, out: &mut String) {
    let family = if kind == "counter" { name.strip_suffix("_total").unwrap_or(name) } else { name };
    out.push_str(&format!("# TYPE {family} {kind}\n"));
    let unit = UNITS.iter().find(|unit| family.strip_suffix(**unit).is_some_and(|rest| rest.ends_with('_')));
    if let Some(unit) = unit {
        out.push_str(&format!("# UNIT {family} {unit}\n"));
    }
    if let Some(help) = help {
        out.push_str(&format!("# HELP {family} {}\n", help.replace('"', "\\\"")));
    }
}

fn write_sample(line: &str, out: &mut String) {
    const BOUND: &str = "le=\"";
    let bound = line.find(BOUND).and_then(|at| {
        let begin = at + BOUND.len();
        line[begin..].find('"').map(|length| (begin, begin + length))
    });
    match bound {
        Some((begin, end)) if line[begin..end].bytes().all(|byte| byte.is_ascii_digit()) => {
            out.push_str(&line[..end]);
            out.push_str(".0");
            out.push_str(&line[end..]);
        }
        _ => out.push_str(line),
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_lose_the_ending_of_counters_declare_units_and_are_ended() {
        let text = "# HELP x_total Things that \"are\" counted\n# TYPE x_total counter\nx_total{a=\"b\"} 3\n\n\
                    # HELP y_seconds Time\n# TYPE y_seconds histogram\ny_seconds_bucket{le=\"0.5\"} 1\n\
                    y_seconds_bucket{le=\"1\"} 1\ny_seconds_bucket{le=\"+Inf\"} 2\ny_seconds_sum 7\ny_seconds_count 2\n";
        let expected = "# TYPE x counter\n# HELP x Things that \\\"are\\\" counted\nx_total{a=\"b\"} 3\n\
                        # TYPE y_seconds histogram\n# UNIT y_seconds seconds\n# HELP y_seconds Time\n\
                        y_seconds_bucket{le=\"0.5\"} 1\ny_seconds_bucket{le=\"1.0\"} 1\n\
                        y_seconds_bucket{le=\"+Inf\"} 2\ny_seconds_sum 7\ny_seconds_count 2\n# EOF\n";
        assert_eq!(from_text_format(text), expected);
    }
}
