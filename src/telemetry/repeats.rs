//! Repeats of one line of the log. Beyond a number of them in a while they are counted instead of written, and the count is
//! written at the end of the while: a failure that repeats a thousand times a second must not hide everything else.
//!
//! A line is a place in the source, whatever its fields are.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tracing::{
    Event, Level, Metadata, Subscriber,
    callsite::Identifier,
    error,
    field::{Field, Visit},
    info,
    level_filters::LevelFilter,
    warn,
};
use tracing_subscriber::layer::{Context, Filter};

/// How often a line is written in a while.
const MAX_REPEATS: u32 = 20;
/// How long a while is.
const REPEAT_INTERVAL: Duration = Duration::from_secs(10);

static REPEATS: OnceLock<Repeats> = OnceLock::new();

/// Counts the repeats of each line. Cheap to clone; all clones share the counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Repeats {
    lines: Arc<Mutex<HashMap<Identifier, Line>>>,
}

#[derive(Debug)]
struct Line {
    began: Instant,
    written: u32,
    dropped: u64,
    level: Level,
    /// The text of the first line that was dropped.
    text: String,
}

/// What was not written of a line.
#[derive(Debug, PartialEq, Eq)]
struct Dropped {
    level: Level,
    text: String,
    times: u64,
}

impl Repeats {
    /// Returns those of this process.
    pub(super) fn of_process() -> Self {
        REPEATS.get_or_init(Self::default).clone()
    }

    /// Counts a line. Returns whether it is written.
    fn admit(&self, event: &Event<'_>, now: Instant) -> bool {
        let metadata = event.metadata();
        // What somebody who looks for an error has switched on is written, and so are the counts.
        if *metadata.level() > Level::INFO || metadata.target() == module_path!() {
            return true;
        }
        let mut lines = self.lines.lock();
        let line = lines.entry(metadata.callsite()).or_insert_with(|| Line::begin(metadata, now));
        if line.dropped == 0 && now.duration_since(line.began) >= REPEAT_INTERVAL {
            *line = Line::begin(metadata, now);
        }
        if line.written < MAX_REPEATS {
            line.written += 1;
            return true;
        }
        if line.dropped == 0 {
            let mut text = Text::default();
            event.record(&mut text);
            line.text = text.0;
        }
        line.dropped += 1;
        false
    }

    /// Writes how often the lines were repeated whose while is over.
    pub(super) fn report(&self, now: Instant) {
        for Dropped { level, text, times } in self.take(now) {
            match level {
                Level::ERROR => error!(repeated = times, "{text}: repeated {times} times"),
                Level::WARN => warn!(repeated = times, "{text}: repeated {times} times"),
                _ => info!(repeated = times, "{text}: repeated {times} times"),
            }
        }
    }

    /// Begins anew with the lines whose while is over. Nothing is written meanwhile: that would come back here.
    fn take(&self, now: Instant) -> Vec<Dropped> {
        let mut dropped = Vec::new();
        self.lines.lock().retain(|_, line| {
            let is_over = now.duration_since(line.began) >= REPEAT_INTERVAL;
            if is_over && line.dropped > 0 {
                let text = std::mem::take(&mut line.text);
                dropped.push(Dropped { level: line.level, text, times: line.dropped });
            }
            !is_over
        });
        dropped
    }
}

impl<S: Subscriber> Filter<S> for Repeats {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.admit(event, Instant::now())
    }

    /// None of its own. Left out, it would lift the limit of the filter beside it, and every statement of SQL would be
    /// formatted to be dropped.
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }
}

impl Line {
    fn begin(metadata: &Metadata<'_>, now: Instant) -> Self {
        Self { began: now, written: 0, dropped: 0, level: *metadata.level(), text: String::new() }
    }
}

/// The text of a line, without its fields.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

/// Writes, from time to time, how often lines were repeated. Never returns.
pub(crate) async fn report_repeats() {
    let mut ticks = tokio::time::interval(REPEAT_INTERVAL);
    loop {
        ticks.tick().await;
        Repeats::of_process().report(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tracing::{debug, subscriber::with_default};
    use tracing_subscriber::{EnvFilter, Layer, Registry, filter::FilterExt, fmt, prelude::*};

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_the_filter_beside_it_cuts_off_by_its_level_is_never_formatted() {
        let both = FilterExt::<Registry>::and(EnvFilter::new("info"), Repeats::default());
        assert_eq!(Filter::<Registry>::max_level_hint(&both), Some(LevelFilter::INFO));
    }

    #[test]
    fn repeats_are_counted_beyond_a_number_and_the_count_is_written() {
        let (log, repeats) = (Log::default(), Repeats::default());
        let to_log = log.clone();
        let layer = fmt::layer().with_writer(move || to_log.clone()).with_ansi(false);
        let filter = repeats.clone();
        with_default(tracing_subscriber::registry().with(layer.with_filter(filter)), || {
            for number in 0..1000 {
                warn!(number, "the disk is slow");
                debug!(number, "a detail");
            }
            error!("the disk is gone");
            repeats.report(Instant::now());
            repeats.report(Instant::now() + REPEAT_INTERVAL);
            repeats.report(Instant::now() + REPEAT_INTERVAL * 2);
            warn!("another line");
        });
        let log = String::from_utf8(log.0.lock().clone()).expect("text");
        let count = |text: &str| log.lines().filter(|line| line.contains(text)).count();
        assert_eq!(count("the disk is slow number="), 20, "{log}");
        assert_eq!(count("the disk is slow: repeated 980 times repeated=980"), 1, "{log}");
        assert_eq!(count("repeated"), 1, "{log}");
        assert_eq!((count("a detail"), count("the disk is gone"), count("another line")), (1000, 1, 1));
    }
}
