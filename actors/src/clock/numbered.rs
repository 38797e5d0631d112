//! Ids that are the same in every run, for tests that repeat a run.

use std::{cell::RefCell, sync::Arc};

use uuid::{Builder, Uuid};

use super::Clock;

thread_local! {
    static NUMBERED: RefCell<Option<Numbered>> = const { RefCell::new(None) };
}

struct Numbered {
    clock: Arc<dyn Clock>,
    generated: u64,
}

/// Makes all ids that this thread generates consist of the time of a clock and a number, until it is dropped.
#[derive(Debug)]
pub struct NumberedIds(());

impl NumberedIds {
    /// Begins with the first number.
    #[must_use]
    pub fn begin(clock: Arc<dyn Clock>) -> Self {
        NUMBERED.set(Some(Numbered { clock, generated: 0 }));
        Self(())
    }

    /// Takes the time from another clock from now on; the numbers go on.
    pub fn follow(&self, clock: Arc<dyn Clock>) {
        NUMBERED.with_borrow_mut(|numbered| {
            if let Some(numbered) = numbered {
                numbered.clock = clock;
            }
        });
    }
}

impl Drop for NumberedIds {
    fn drop(&mut self) {
        NUMBERED.set(None);
    }
}

/// Returns the next id of this thread, if it numbers them.
pub(super) fn numbered_uuid() -> Option<Uuid> {
    NUMBERED.with_borrow_mut(|numbered| {
        let numbered = numbered.as_mut()?;
        numbered.generated += 1;
        let millis = u64::try_from(numbered.clock.now().timestamp_millis()).unwrap_or_default();
        let mut rest = [0; 10];
        rest[2..].copy_from_slice(&numbered.generated.to_be_bytes());
        Some(Builder::from_unix_timestamp_millis(millis, &rest).into_uuid())
    })
}
