//! A flow of an application's own, with a race planted in it: the counter of a coffee bar has the customer pay and the
//! brewer grind, and the till has the brewer brew. Delivered in the order of sending, nothing is wrong.
//! `cargo run --example planted_race`

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{collections::VecDeque, error::Error};

use serde::{Deserialize, Serialize};
use twinway::{
    protocol::{Ask, Asker, Behaviour, EntityId, Envelope, Mailbox, Out, Ref, Step, StepId, Tell, mailboxes, step_id},
    testkit::{
        Assembly, Cast, EveryCallIsAnswered, Line, Outcome, Plan, Seen, Story, Strategy, World, check, explore,
        granted, rule,
    },
};

macro_rules! messages {
    ($($Name:ident: $step:expr;)*) => {$(
        /// A message of the bar.
        #[derive(Clone, Debug)]
        pub struct $Name;
        impl Step for $Name {
            const STEP: Option<StepId> = $step;
            const NAME: &'static str = stringify!($Name);
        }
    )*};
}
messages! {
    Order: None;
    Coffee: None;
    Pay: Some(step_id!("coffee", "1"));
    Grind: Some(step_id!("coffee", "2"));
    Brew: Some(step_id!("coffee", "3"));
    Brewed: Some(step_id!("coffee", "4"));
}
impl Ask for Order {
    type Answer = Coffee;
}
impl Tell for Pay {}
impl Tell for Grind {}
impl Tell for Brew {}
impl Tell for Brewed {}

/// Nothing leaves the bar.
#[derive(Debug)]
pub enum NoSignal {}

mailboxes! {
    /// The bar.
    pub enum Wire signals NoSignal {
        /// The counter.
        Counter(CounterMsg) = 1 { asks { Order } tells { Brewed } hears {} }
        /// The till.
        Till(TillMsg) = 2 { asks {} tells { Pay } hears {} }
        /// The brewer.
        Brewer(BrewerMsg) = 3 { asks {} tells { Grind, Brew } hears {} }
        /// The customer.
        Customer(CustomerMsg) = 255 { asks {} tells {} hears { Coffee } }
    }
    answers { Coffee => Customer(CustomerMsg); }
}

const COUNTER: Ref<CounterMsg> = Ref::new(EntityId::new(CounterMsg::KIND, 0, 0));
const TILL: Ref<TillMsg> = Ref::new(EntityId::new(TillMsg::KIND, 0, 0));
const BREWER: Ref<BrewerMsg> = Ref::new(EntityId::new(BrewerMsg::KIND, 0, 0));

/// What an entity writes down that remembers nothing.
#[derive(Debug, Serialize, Deserialize)]
enum Nothing {}

/// Who makes the coffee: an entity a kind, and whether the race is mended.
struct Counter {
    customers: VecDeque<Asker<Order>>,
    mended: bool,
}
struct Till;
struct Brewer;

macro_rules! entity {
    ($Name:ident($Msg:ident), $new:expr, $handle:expr) => {
        impl Behaviour for $Name {
            type Wire = Wire;
            type Msg = $Msg;
            type Record = Nothing;
            type Settings = bool;
            fn new(_: EntityId, mended: &bool, _: u32) -> Self {
                ($new)(*mended)
            }
            fn handle(&mut self, envelope: Envelope<$Msg>, out: &mut Out<'_, Self>) {
                ($handle)(self, envelope, out);
            }
            fn replay(&mut self, record: Nothing) {
                match record {}
            }
            fn snapshot(&self, _: u64, _: &mut Vec<Nothing>) {}
        }
    };
}

entity!(
    Counter(CounterMsg),
    |mended| Counter { customers: VecDeque::new(), mended },
    |counter: &mut Counter, Envelope { meta, message }, out: &mut Out<'_, Counter>| match message {
        CounterMsg::Order(_) => {
            counter.customers.push_back(meta.asker(out.event()));
            // The race: the till is quick, and nothing makes the beans arrive before what it sends.
            if counter.mended {
                out.send(BREWER, Grind);
                out.send(TILL, Pay);
            } else {
                out.send(TILL, Pay);
                out.send(BREWER, Grind);
            }
        }
        CounterMsg::Brewed(_) => {
            if let Some(customer) = counter.customers.pop_front() {
                out.reply(customer, Ok(Coffee));
            }
        }
    }
);
entity!(Till(TillMsg), |_| Till, |_, _, out: &mut Out<'_, Till>| out.send(BREWER, Brew));
entity!(Brewer(BrewerMsg), |_| Brewer, |_, envelope: Envelope<BrewerMsg>, out: &mut Out<'_, Brewer>| {
    if let BrewerMsg::Brew(_) = envelope.message {
        out.send(COUNTER, Brewed);
    }
});

/// So many customers order at once; what is brewed must have been ground.
pub fn bar(mended: bool, customers: usize) -> World<Wire> {
    let cast = Cast::default().entity::<Counter>(mended).entity::<Till>(mended).entity::<Brewer>(mended);
    let lines = (0..customers).map(|_| Line::new("customer").ask(COUNTER, || Order, granted)).collect();
    let ground_first = rule("what is brewed was ground", |ground: &mut u32, seen: &Seen<'_, Wire>, found| match seen {
        Seen::Delivery { wire: Wire::Brewer(BrewerMsg::Grind(_)), .. } => *ground += 1,
        Seen::Delivery { wire: Wire::Brewer(BrewerMsg::Brew(_)), .. } => match ground.checked_sub(1) {
            Some(left) => *ground = left,
            None => found.violated("hot water"),
        },
        _ => {}
    });
    World::new(cast, Story::new(lines)).rule(EveryCallIsAnswered::default()).rule(ground_first)
}

/// The property, as a test would have it.
fn coffee_is_coffee_in_any_order(mended: bool) -> Outcome {
    check(bar(mended, 1), &Plan::default())
}

fn main() -> Result<(), Box<dyn Error>> {
    match coffee_is_coffee_in_any_order(false) {
        Ok(()) => return Err("the planted race was not found".into()),
        Err(failure) => println!("As planted:\n{failure}"),
    }
    let every_order = Plan::default().strategy(Strategy::Exhaustive { depth_max: 100 });
    let summary = explore(&mut bar(true, 1), &every_order, |_| {});
    match summary.failure {
        Some(failure) => Err(failure.into()),
        None => {
            println!("Mended: the rules hold in every order that differs from another, {} in all.", summary.distinct);
            Ok(())
        }
    }
}
