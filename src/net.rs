//! The listening socket, and the limit of open files: every connection takes one.

use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
};

use listenfd::ListenFd;
use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::{Domain, SockRef, Socket, Type};

/// How many connections may wait to be accepted: all clients of a restarted server reconnect at once.
const BACKLOG: i32 = 8192;

/// Listens on the first address of `host` that can be bound.
///
/// # Errors
/// The name has no address here ([`io::ErrorKind::AddrNotAvailable`]), or the address can't be bound.
pub(crate) fn listen(host: &str, port: u16) -> io::Result<TcpListener> {
    let addresses = (host, port).to_socket_addrs().map_err(unavailable)?;
    let mut last_error = unavailable(io::Error::other("the host has no address"));
    for address in addresses {
        match bind(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

/// Returns the socket that a service manager opened and passed on (`LISTEN_FDS` and `LISTEN_PID`, as systemd sets them), or
/// `None` where there is none. It stays open while the server restarts: connections wait in it instead of being refused.
///
/// # Errors
/// It is no listening TCP socket, or there are several: clients of the others would wait without end.
pub(crate) fn inherited() -> io::Result<Option<TcpListener>> {
    let mut passed = ListenFd::from_env();
    if passed.len() > 1 {
        return Err(io::Error::other(format!("{} sockets were passed instead of one", passed.len())));
    }
    let Some(listener) = passed.take_tcp_listener(0)? else { return Ok(None) };
    if !SockRef::from(&listener).is_listener()? {
        return Err(io::Error::other("the socket that was passed does not listen"));
    }
    listener.set_nonblocking(true)?;
    Ok(Some(listener))
}

fn unavailable(error: io::Error) -> io::Error {
    io::Error::new(io::ErrorKind::AddrNotAvailable, error)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Raises the limit of open files to the hard limit, for this process and its children. Returns the limit, if there is
/// one.
pub(crate) fn raise_nofile() -> Option<u64> {
    let before = getrlimit(Resource::Nofile);
    let mut raised = before;
    raised.current = before.maximum;
    if before.current != before.maximum && setrlimit(Resource::Nofile, raised).is_err() {
        // Some systems report no hard limit, and refuse to set none.
        return before.current;
    }
    raised.current
}

/// Returns how many files this process may have open, if that is limited.
pub(crate) fn max_open_files() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_raised_to_the_hard_limit() {
        let maximum = getrlimit(Resource::Nofile).maximum;
        assert_eq!(raise_nofile(), maximum);
        assert_eq!(getrlimit(Resource::Nofile).current, maximum);
    }
}
