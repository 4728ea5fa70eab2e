//! How the rest of the host is reached.

use std::{
    collections::{HashMap, HashSet},
    os::fd::OwnedFd,
    sync::Arc,
};

use anyhow::Result;
use foldhash::fast::FixedState;

use super::{
    helper::{Helper, Patience},
    hidden::hidden_processes,
    netns::{self, NetnsList},
    socket_holders::{self, Holder},
};

/// How other network namespaces and other users' processes are reached: with the rights that this
/// process has, or through a helper that has more.
///
/// What is in a namespace is reached the way by which the namespace was found.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    helper: Option<Arc<Helper>>,
    patience: Patience,
}

impl Reach {
    /// With our own rights.
    pub fn direct() -> Self {
        Self::default()
    }

    /// Through `helper`, which ends with the last of these.
    pub fn through(helper: Helper) -> Self {
        Self { helper: Some(Arc::new(helper)), patience: Patience::Usual }
    }

    /// The same for one who cannot wait: what a helper does not tell within a second it is not
    /// told, and nothing at all while the helper is late.
    #[must_use]
    pub fn in_a_hurry(&self) -> Self {
        Self { helper: self.helper.clone(), patience: Patience::Short }
    }

    /// Whether there is a helper, or was one.
    pub fn has_helper(&self) -> bool {
        self.helper.is_some()
    }

    /// Whether the helper that there was is gone: what it told was true until then.
    pub fn is_lost(&self) -> bool {
        self.helper.as_ref().is_some_and(|helper| helper.is_lost())
    }

    /// Every network namespace that can be reached; see [`netns::list`].
    ///
    /// # Errors
    /// As there; or the helper is gone, or late, which is said once.
    pub fn list(&self) -> Result<NetnsList> {
        let Some(helper) = &self.helper else { return netns::list() };
        let mut listed = helper.list(self.patience)?;
        for netns in &mut listed.found {
            netns.enter_through(helper, self.patience);
        }
        Ok(listed)
    }

    /// Why processes may be missing in all that is told of processes; `None` if none can. A helper
    /// has the rights to see them.
    pub fn hidden_processes(&self) -> Option<String> {
        if self.helper.is_some() { None } else { hidden_processes() }
    }

    /// What makes the kernel measure BPF programs as long as it is open, if that is to be had
    /// through a helper; it is asked for a moment only.
    pub fn measuring(&self) -> Option<Result<OwnedFd>> {
        Some(self.helper.as_ref()?.measuring())
    }

    /// Which of all processes holds each of the sockets with these inodes; see
    /// [`socket_holders::socket_holders`].
    pub fn socket_holders(
        &self,
        wanted: &HashSet<u32, FixedState>,
    ) -> HashMap<u32, Holder, FixedState> {
        match &self.helper {
            Some(helper) => helper.holders(None, wanted),
            None => socket_holders::socket_holders(wanted),
        }
    }

    /// The same, of these processes alone.
    pub fn socket_holders_among(
        &self,
        pids: impl Iterator<Item = u32>,
        wanted: &HashSet<u32, FixedState>,
    ) -> HashMap<u32, Holder, FixedState> {
        match &self.helper {
            Some(helper) => helper.holders(Some(&pids.collect::<Vec<_>>()), wanted),
            None => socket_holders::socket_holders_among(pids, wanted),
        }
    }
}
