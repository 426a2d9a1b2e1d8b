//! The coffee bar of `examples/planted_race.rs` as a model for stateright: the same messages, and links of the same
//! promise, causal order. What the simulator runs as behaviours is written down here as transitions of a state.

use stateright::{Model, Property};

/// Whom a message is for; the customers' own place in the order of knowing is [`OUTSIDE`].
const COUNTER: usize = 0;
const TILL: usize = 1;
const BREWER: usize = 2;
/// The last place: customers, who know of nothing but what they ask.
const PLACES: usize = 3;

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Says {
    Order,
    Pay,
    Grind,
    Brew,
    Brewed,
}

/// A message under way, with the set of messages that its sender knew to be sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Flight {
    id: u8,
    to: usize,
    says: Says,
    behind: u64,
}

/// The bar at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// In the order of sending.
    under_way: Vec<Flight>,
    /// The messages of which each entity knows that they were sent.
    known: [u64; PLACES],
    sent: u8,
    waiting: u8,
    ground: u8,
    served: u8,
    spoilt: bool,
}

/// The bar, mended or not, and how many customers order at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bar {
    pub(crate) mended: bool,
    pub(crate) customers: u8,
}

impl State {
    fn send(&mut self, from: usize, to: usize, says: Says) {
        let (id, known) = (self.sent, self.known.get_mut(from));
        self.sent += 1;
        let Some(known) = known else { return };
        self.under_way.push(Flight { id, to, says, behind: *known });
        *known |= 1 << id;
    }

    /// Nothing that was sent to the same entity before it, as far as its sender knew, is still under way.
    fn may_arrive(&self, flight: &Flight) -> bool {
        !self.under_way.iter().any(|other| other.to == flight.to && flight.behind & (1 << other.id) != 0)
    }

    fn arrive(&mut self, flight: Flight, mended: bool) {
        if let Some(known) = self.known.get_mut(flight.to) {
            *known |= flight.behind | (1 << flight.id);
        }
        match flight.says {
            Says::Order => {
                self.waiting += 1;
                let (first, second) = ((TILL, Says::Pay), (BREWER, Says::Grind));
                let (first, second) = if mended { (second, first) } else { (first, second) };
                self.send(COUNTER, first.0, first.1);
                self.send(COUNTER, second.0, second.1);
            }
            Says::Pay => self.send(TILL, BREWER, Says::Brew),
            Says::Grind => self.ground += 1,
            Says::Brew => {
                self.spoilt |= self.ground == 0;
                self.ground = self.ground.saturating_sub(1);
                self.send(BREWER, COUNTER, Says::Brewed);
            }
            Says::Brewed => {
                self.waiting -= 1;
                self.served += 1;
            }
        }
    }
}

impl Model for Bar {
    type State = State;
    type Action = u8;

    fn init_states(&self) -> Vec<State> {
        let order = |id| Flight { id, to: COUNTER, says: Says::Order, behind: 0 };
        vec![State {
            under_way: (0..self.customers).map(order).collect(),
            known: [0; PLACES],
            sent: self.customers,
            waiting: 0,
            ground: 0,
            served: 0,
            spoilt: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<u8>) {
        actions.extend(state.under_way.iter().filter(|flight| state.may_arrive(flight)).map(|flight| flight.id));
    }

    fn next_state(&self, state: &State, action: u8) -> Option<State> {
        let at = state.under_way.iter().position(|flight| flight.id == action)?;
        let mut next = state.clone();
        let flight = next.under_way.remove(at);
        next.arrive(flight, self.mended);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("what is brewed was ground", |_, state: &State| !state.spoilt),
            Property::always("every customer is served", |bar: &Bar, state: &State| {
                !state.under_way.is_empty() || state.served == bar.customers
            }),
        ]
    }
}
