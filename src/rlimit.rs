//! Every socket is an open file. What a process may open at first is often far less than what it may ask for.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Lets this process, and those that it starts, open as many files as it may ask for; how many that are, where there is
/// a limit.
pub(crate) fn allow_most() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let before = limit.current;
        limit.current = limit.maximum;
        if setrlimit(Resource::Nofile, limit).is_err() {
            // Some systems name no limit and refuse to set none.
            return before;
        }
    }
    limit.current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_allowed_as_may_be_asked_for() {
        let most = getrlimit(Resource::Nofile).maximum;
        assert_eq!(allow_most(), most);
        assert_eq!(getrlimit(Resource::Nofile).current, most);
    }
}
