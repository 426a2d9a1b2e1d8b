//! A system of a test's own: a till has the bank charge and the stock reserve; the bank has the stock ship.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    Ask, Asker, Behaviour, EntityId, Envelope, Mailbox, Out, Pending, Problem, ProblemKind, Ref, Step, StepId, Tell,
    mailboxes, step_id,
};
use twinway_scenarios::testkit::{
    Assembly, Cast, EveryCallIsAnswered, EveryQuestionIsAnsweredOnce, Line, Story, World, granted,
};

macro_rules! steps {
    ($($(#[$meta:meta])* $Name:ident $step:expr;)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug)]
        pub(crate) struct $Name;
        impl Step for $Name {
            const STEP: Option<StepId> = $step;
            const NAME: &'static str = stringify!($Name);
        }
    )*};
}

steps! {
    /// A buyer buys.
    Buy None;
    /// It is shipped.
    Bought None;
    /// The till has the stock reserve.
    Reserve Some(step_id!("shop", "1"));
    /// The till has the bank charge.
    Charge Some(step_id!("shop", "2"));
    /// The bank has the stock ship what is reserved.
    Ship Some(step_id!("shop", "3"));
    /// The stock tells the till.
    Shipped Some(step_id!("shop", "4"));
}
impl Ask for Buy {
    type Answer = Bought;
}
impl Tell for Reserve {}
impl Ask for Charge {
    type Answer = Charged;
}
steps! {
    /// The bank has written the charge down.
    Charged None;
}
impl Tell for Ship {}
impl Tell for Shipped {}

#[derive(Debug)]
pub(crate) struct Nothing;

mailboxes! {
    pub(crate) enum Wire signals Nothing {
        Till(TillMsg) = 1 { asks { Buy } tells { Shipped } hears { Charged } }
        Bank(BankMsg) = 2 { asks { Charge } tells {} hears {} }
        Stock(StockMsg) = 3 { asks {} tells { Reserve, Ship } hears {} }
        Caller(CallerMsg) = 255 { asks {} tells {} hears { Bought } }
    }
    answers { Bought => Caller(CallerMsg); Charged => Till(TillMsg); }
}

pub(crate) const TILL: Ref<TillMsg> = Ref::new(EntityId::new(TillMsg::KIND, 0, 0));
pub(crate) const BANK: Ref<BankMsg> = Ref::new(EntityId::new(BankMsg::KIND, 0, 0));
pub(crate) const STOCK: Ref<StockMsg> = Ref::new(EntityId::new(StockMsg::KIND, 0, 0));

/// What is wrong in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Planted {
    /// The till has the bank charge before it has the stock reserve.
    pub(crate) charge_first: bool,
    /// The bank ships before its charge is written down.
    pub(crate) forgets: bool,
    /// The stock panics when there is nothing to ship.
    pub(crate) panics: bool,
}

pub(crate) struct Till {
    buyers: Vec<Asker<Buy>>,
    planted: Planted,
    pending: Pending<()>,
}

impl Behaviour for Till {
    type Wire = Wire;
    type Msg = TillMsg;
    type Record = NoRecord;
    type Settings = Planted;

    fn new(_id: EntityId, planted: &Planted, incarnation: u32) -> Self {
        Self { buyers: Vec::new(), planted: *planted, pending: Pending::new(10, incarnation) }
    }

    fn handle(&mut self, Envelope { meta, message }: Envelope<TillMsg>, out: &mut Out<'_, Self>) {
        match message {
            TillMsg::Buy(_) => {
                self.buyers.push(meta.asker(out.event()));
                if !self.planted.charge_first {
                    out.send(STOCK, Reserve);
                }
                if let Ok(key) = self.pending.insert(()) {
                    out.ask(BANK, Charge, key);
                }
                if self.planted.charge_first {
                    out.send(STOCK, Reserve);
                }
            }
            TillMsg::Shipped(_) => {
                for buyer in self.buyers.drain(..) {
                    out.reply(buyer, Ok(Bought));
                }
            }
            TillMsg::Charged(answer) => {
                self.pending.take(meta.pending);
                if answer.is_err() {
                    for buyer in self.buyers.drain(..) {
                        out.reply(buyer, Err(Problem::new(ProblemKind::Internal, "not charged")));
                    }
                }
            }
        }
    }

    fn replay(&mut self, record: NoRecord) {
        match record {}
    }

    fn snapshot(&self, _part: u64, _into: &mut Vec<NoRecord>) {}
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum NoRecord {}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Charges(pub(crate) u32);

pub(crate) struct Bank {
    charges: u32,
    planted: Planted,
}

impl Behaviour for Bank {
    type Wire = Wire;
    type Msg = BankMsg;
    type Record = Charges;
    type Settings = Planted;

    fn new(_id: EntityId, planted: &Planted, _incarnation: u32) -> Self {
        Self { charges: 0, planted: *planted }
    }

    fn handle(&mut self, Envelope { meta, message }: Envelope<BankMsg>, out: &mut Out<'_, Self>) {
        let BankMsg::Charge(_) = message;
        self.charges += 1;
        if self.planted.forgets {
            out.record_batched(0, Charges(self.charges));
        } else {
            out.record(0, Charges(self.charges));
        }
        out.send(STOCK, Ship);
        out.reply(meta.asker::<Charge>(out.event()), Ok(Charged));
    }

    fn replay(&mut self, record: Charges) {
        self.charges = record.0;
    }

    fn snapshot(&self, _part: u64, into: &mut Vec<Charges>) {
        into.push(Charges(self.charges));
    }
}

pub(crate) struct Stock {
    reserved: u32,
    planted: Planted,
    one: PhantomData<()>,
}

impl Behaviour for Stock {
    type Wire = Wire;
    type Msg = StockMsg;
    type Record = NoRecord;
    type Settings = Planted;

    fn new(_id: EntityId, planted: &Planted, _incarnation: u32) -> Self {
        Self { reserved: 0, planted: *planted, one: PhantomData }
    }

    fn handle(&mut self, Envelope { message, .. }: Envelope<StockMsg>, out: &mut Out<'_, Self>) {
        let Self { reserved, planted, one: PhantomData } = self;
        match message {
            StockMsg::Reserve(_) => *reserved += 1,
            StockMsg::Ship(_) if *reserved > 0 => {
                *reserved -= 1;
                out.send(TILL, Shipped);
            }
            // Nothing is reserved, so nothing is shipped, and nobody hears.
            StockMsg::Ship(_) => assert!(!planted.panics, "nothing is reserved"),
        }
    }

    fn replay(&mut self, record: NoRecord) {
        match record {}
    }

    fn snapshot(&self, _part: u64, _into: &mut Vec<NoRecord>) {}
}

/// A buyer who buys once.
pub(crate) fn shop(planted: Planted) -> World<Wire> {
    let cast = Cast::default().entity::<Till>(planted).entity::<Bank>(planted).entity::<Stock>(planted);
    let buyer = Line::new("buyer").ask(TILL, || Buy, granted);
    World::new(cast, Story::new(vec![buyer]))
        .rule(EveryCallIsAnswered::default())
        .rule(EveryQuestionIsAnsweredOnce::default())
}
