//! The scenes: what each is about, and who plays in it.

mod leak;
mod legacy;
mod shop;
mod worker;

use super::actor::Actor;

/// Actors in one network namespace.
pub(super) struct Scene {
    /// The settings of its namespace, besides [`SYSCTLS`].
    pub(super) sysctls: &'static [(&'static str, &'static str)],
    /// Servers before their clients.
    pub(super) actors: &'static [Actor],
}

/// What the namespaces of all scenes have: no birth of a mini-socket is refused, however few the
/// machine would allow
/// ([`tcp_sk_init`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_ipv4.c)).
pub(super) const SYSCTLS: &[(&str, &str)] = &[("ipv4/tcp_max_tw_buckets", "65536")];

/// Every scene.
pub(super) static SCENES: &[Scene] = &[shop::SCENE, legacy::SCENE, leak::SCENE, worker::SCENE];

/// Who has this name.
pub(super) fn actor(name: &str) -> Option<&'static Actor> {
    SCENES.iter().flat_map(|scene| scene.actors).find(|actor| actor.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `TASK_COMM_LEN` without the last byte, which is 0:
    /// [`sched.h`](https://github.com/torvalds/linux/blob/v6.12/include/linux/sched.h).
    const COMM: usize = 15;

    #[test]
    fn each_actor_is_found_by_a_name_that_the_kernel_keeps() {
        for actor in SCENES.iter().flat_map(|scene| scene.actors) {
            assert!(actor.name.starts_with("demo-") && actor.name.len() <= COMM, "{}", actor.name);
            let found = self::actor(actor.name).expect(actor.name);
            assert!(std::ptr::eq(found, actor), "{} is the name of two", actor.name);
        }
        assert!(actor("demo-nobody").is_none());
    }
}
