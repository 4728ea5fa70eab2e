//! The words of rows for what has a number in the kernel.

use twtrace_common::{Outcome, Search};

/// How a connect ended; `None` if this is not about one.
pub(super) const fn connect(outcome: Outcome) -> Option<&'static str> {
    Some(match outcome {
        Outcome::ConnectOk => "ok",
        Outcome::ConnectRefused => "refused",
        Outcome::ConnectTimedOut => "timed_out",
        Outcome::ConnectNoPort => "no_port",
        Outcome::ConnectOther => "other",
        Outcome::ConnectUnexplained => "unexplained",
        _ => return None,
    })
}

/// How a connection closed; `None` if this is not about one.
pub(super) const fn close(outcome: Outcome) -> Option<&'static str> {
    Some(match outcome {
        Outcome::CloseActive => "active",
        Outcome::ClosePassive => "passive",
        Outcome::CloseSimultaneous => "simultaneous",
        Outcome::ResetLocal => "reset_local",
        Outcome::ResetRemote => "reset_remote",
        Outcome::ResetUnexplained => "reset_unexplained",
        _ => return None,
    })
}

/// What a transition meant, for rows of both.
pub(super) const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::ConnectOk => "connect_ok",
        Outcome::ConnectRefused => "connect_refused",
        Outcome::ConnectTimedOut => "connect_timed_out",
        Outcome::ConnectNoPort => "connect_no_port",
        Outcome::ConnectOther => "connect_other",
        Outcome::ConnectUnexplained => "connect_unexplained",
        Outcome::CloseActive => "close_active",
        Outcome::ClosePassive => "close_passive",
        Outcome::CloseSimultaneous => "close_simultaneous",
        Outcome::ResetLocal => "reset_local",
        Outcome::ResetRemote => "reset_remote",
        Outcome::ResetUnexplained => "reset_unexplained",
    }
}

/// What looked for a port.
pub(super) const fn search(search: Search) -> &'static str {
    match search {
        Search::Connect => "connect",
        Search::Bind => "bind",
        Search::BindExplicit => "bind_explicit",
        Search::Listen => "listen",
    }
}

/// The name of an errno that sockets meet, the same on x86_64 and aarch64.
pub(super) const fn errno(error: u16) -> Option<&'static str> {
    Some(match error {
        1 => "EPERM",
        4 => "EINTR",
        11 => "EAGAIN",
        12 => "ENOMEM",
        13 => "EACCES",
        22 => "EINVAL",
        32 => "EPIPE",
        71 => "EPROTO",
        90 => "EMSGSIZE",
        92 => "ENOPROTOOPT",
        98 => "EADDRINUSE",
        99 => "EADDRNOTAVAIL",
        100 => "ENETDOWN",
        101 => "ENETUNREACH",
        103 => "ECONNABORTED",
        104 => "ECONNRESET",
        105 => "ENOBUFS",
        110 => "ETIMEDOUT",
        111 => "ECONNREFUSED",
        112 => "EHOSTDOWN",
        113 => "EHOSTUNREACH",
        _ => return None,
    })
}
