//! Where the scenes are played, from the first namespace to the last process.

use std::{process::Child, thread};

use anyhow::{Context, Result};

use super::{
    actor,
    scenes::{SCENES, SYSCTLS, Scene},
};
use crate::host::{self, Netns, PrivateNetns};

/// A namespace for each scene, in which nobody is yet.
#[derive(Debug)]
pub struct Stage {
    namespaces: Vec<Netns>,
}

impl Stage {
    /// Makes the namespaces. Whoever is about to trace learns here whether there will be
    /// anything to see.
    ///
    /// # Errors
    /// Without the rights to make network namespaces.
    pub fn set() -> Result<Self> {
        let namespaces = SCENES.iter().map(namespace).collect::<Result<_>>();
        Ok(Self { namespaces: namespaces.context("--demo")? })
    }

    /// Lets all actors begin; to be called when everything is attached. The namespaces are
    /// theirs from then on.
    ///
    /// # Errors
    /// A process cannot be started; then none is left.
    pub fn play(self) -> Result<Demo> {
        let mut demo = Demo { actors: Vec::new() };
        for (scene, netns) in SCENES.iter().zip(self.namespaces) {
            let enter = || demo.enter(scene, netns.inode);
            host::within(&netns, enter)?.context("--demo")?;
        }
        Ok(demo)
    }
}

/// A namespace as `scene` wants it. It takes a thread of its own, since whoever makes one is in it.
fn namespace(scene: &Scene) -> Result<Netns> {
    let make = || {
        let inside = PrivateNetns::enter()?;
        SYSCTLS.iter().chain(scene.sysctls).try_for_each(|(key, value)| inside.set(key, value))?;
        Ok(inside.into_handle())
    };
    thread::scope(|scope| {
        let maker = thread::Builder::new()
            .spawn_scoped(scope, make)
            .context("cannot start a thread; raise the limit on tasks (ulimit -u)")?;
        maker.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload))
    })
}

/// The demo, as long as it runs; dropped, it ends.
#[derive(Debug)]
pub struct Demo {
    actors: Vec<Child>,
}

impl Demo {
    fn enter(&mut self, scene: &Scene, netns: u32) -> Result<()> {
        for row in scene.actors {
            self.actors.push(actor::start(row, netns)?);
        }
        Ok(())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // All at once, so that nobody is left to be disappointed; both fail only for one that
        // has ended already.
        for actor in &mut self.actors {
            let _ = actor.kill();
        }
        for actor in &mut self.actors {
            let _ = actor.wait();
        }
    }
}
