//! What is held when a recording goes on in another file, and is held there.

use super::{ClientKey, DestinationKey, Hold, Ports, Waiting, table::OTHER};
use crate::frame::{CarriedDestination, Held, HeldClient, HeldDestination};

impl Ports {
    /// What all local ports are taken towards.
    pub(in crate::tracker) fn carried(&self) -> Vec<CarriedDestination> {
        let row = |(key, taken): (Option<DestinationKey>, &super::Taken)| {
            let DestinationKey { netns, laddr, raddr, rport } = key?;
            Some(CarriedDestination {
                netns,
                destination: HeldDestination { laddr, raddr, rport },
                asked: taken.asked,
                last_opened: taken.last_opened,
            })
        };
        self.destinations.iter().filter(|(_, taken)| taken.holders > 0).filter_map(row).collect()
    }

    /// Takes over what ports were taken towards.
    pub(in crate::tracker) fn carry(&mut self, carried: &[CarriedDestination]) {
        for CarriedDestination { netns, destination, asked, last_opened } in carried {
            let HeldDestination { laddr, raddr, rport } = *destination;
            let key = DestinationKey { netns: *netns, laddr, raddr, rport };
            let number = self.destinations.number(key);
            if let Some((Some(_), taken)) = self.destinations.get_mut(number) {
                // It may be told late, when others have connected already.
                taken.asked = taken.asked.and(*asked);
                taken.last_opened = taken.last_opened.max(*last_opened);
            }
            self.renew_offer(number, key);
        }
        // What the ranges mean for what is held.
        self.recount_due = true;
    }

    /// What `hold` is, without this table's numbers.
    pub(in crate::tracker) fn held(&self, hold: Hold) -> Held {
        match hold {
            Hold::Nothing => Held::Nothing,
            Hold::Listener { netns, lport, is_v4 } => Held::Listener { netns, lport, is_v4 },
            Hold::Port { netns, destination, lport, bound } => {
                let key = self.destinations.get(destination).and_then(|(key, _)| key);
                let destination = key.map(|DestinationKey { laddr, raddr, rport, .. }| {
                    HeldDestination { laddr, raddr, rport }
                });
                Held::Port { netns, destination, lport, bound }
            }
            Hold::Quadruplet { client, rport } => {
                let key = self.clients.get(client).and_then(|(key, _)| key);
                let client = |ClientKey { netns, laddr, lport, raddr }| HeldClient {
                    netns,
                    laddr,
                    lport,
                    raddr,
                    rport,
                };
                Held::Quadruplet(key.map(client))
            }
        }
    }

    /// A socket that was met before keeps `held` from others.
    pub(in crate::tracker) fn holds(&mut self, held: &Held) -> Hold {
        self.recount_due = true;
        match *held {
            Held::Nothing => Hold::Nothing,
            Held::Listener { netns, lport, is_v4 } => self.listens_on(netns, lport, is_v4),
            Held::Port { netns, destination, lport, bound } => {
                let number =
                    destination.map_or(OTHER, |HeldDestination { laddr, raddr, rport }| {
                        self.destinations.number(DestinationKey { netns, laddr, raddr, rport })
                    });
                if lport != 0 {
                    self.namespace_mut(netns).use_port(lport, bound);
                }
                if let Some((_, taken)) = self.destinations.get_mut(number) {
                    taken.holders += 1;
                    if lport != 0 {
                        taken.live.add(taken.place(lport));
                    }
                }
                Hold::Port { netns, destination: number, lport, bound }
            }
            Held::Quadruplet(client) => {
                let number =
                    client.map_or(OTHER, |HeldClient { netns, laddr, lport, raddr, .. }| {
                        self.clients.number(ClientKey { netns, laddr, lport, raddr })
                    });
                if let Some((_, quadruplets)) = self.clients.get_mut(number) {
                    quadruplets.live += 1;
                }
                Hold::Quadruplet { client: number, rport: client.map_or(0, |client| client.rport) }
            }
        }
    }

    /// A mini-socket whose birth was seen before keeps `held` from others.
    pub(in crate::tracker) fn keeps(&mut self, held: &Held, waiting: Waiting) -> Hold {
        let hold = self.holds(held);
        self.was_waiting(hold, waiting);
        hold
    }
}
