//! FGMV-28 7.1.3: users of two metaverse systems want to be integrated with one object, and one of them at a time is.

mod refused;

use std::{cell::Cell, rc::Rc, sync::Arc};

use twinway_protocol::{
    EntityId, PendingKey, Problem, ProblemKind, Ref, TwinId,
    lease::{HolderClass, RequestId, Token},
    message::{
        AnswerRequest, ChangeTerms, ChangeTwin, DigitalTwinSystemMsg, LeaseRequest, MetaverseSystemMsg, OpenSystem,
        OutsideRequest, RegisterTwinSystem, ReleaseSyncLease, RenewSyncLease, RequestSyncLease,
        RequestTwinPropertiesAndPermission, SelectTwins, SetSynchronization, ShownToken, SyncLeaseGranted, Wire,
    },
    signal::Signal,
    step_id,
};

use super::{
    StepsAreTaken, enabler,
    outsiders::{self, PLANT, PLAZA, WORLD, plant, raised, rights, system, twin, user, values, willing},
};
use crate::{
    outside::{CallId, Hands, Outside},
    story::{Heard, Line, Story, granted},
    world::World,
};
pub use refused::{procedure_7_1_3_silent, procedure_7_1_3_together};

/// How long a lease lasts without a renewal, in milliseconds.
const TTL_MS: u32 = 4_000;
/// How long those wait who wait, in milliseconds.
const WAIT_MS: u32 = 3_000;

/// How long the lease lasts of somebody who does not let go, in milliseconds.
const LONG_TTL_MS: u32 = 60_000;
/// How long one waits for what such a one holds, in milliseconds: longer than any gate may take.
const LONG_WAIT_MS: u32 = 20_000;
/// How long a higher one waits for it, in milliseconds.
const LONGER_WAIT_MS: u32 = 30_000;

/// How often the steps are taken at least: by seven users, some of whom ask again, and one for a single change.
const STEPS: [(&str, u32); 9] =
    [("1", 7), ("4", 7), ("5", 7), ("6", 8), ("7", 9), ("8", 1), ("9", 1), ("10", 9), ("11", 8)];

/// A plant whose device takes its time: it moves when it must, or when there is nothing else to do. Everything else
/// that is asked of outside systems is answered at once.
struct SlowPlant {
    story: Story<Wire>,
    /// Commands that wait in the device, the oldest first.
    moves: Vec<(EntityId, PendingKey, OutsideRequest)>,
    /// The highest token for which the device was fenced.
    fenced: Token,
    heard: u32,
}

fn answer(entity: EntityId, request: PendingKey, asked: OutsideRequest, hands: &mut Hands<Wire>) {
    let answer = AnswerRequest { request, answer: Box::new(willing(asked)) };
    hands.ask(Ref::<DigitalTwinSystemMsg>::new(entity), answer);
}

impl SlowPlant {
    fn new(story: Story<Wire>) -> Self {
        Self { story, moves: Vec::new(), fenced: Token::NONE, heard: 0 }
    }

    /// The device does what it was told.
    fn act(&mut self, hands: &mut Hands<Wire>) {
        for (entity, request, asked) in self.moves.drain(..) {
            answer(entity, request, asked, hands);
        }
    }
}

impl Outside<Wire> for SlowPlant {
    fn begin(&mut self, hands: &mut Hands<Wire>) {
        self.moves.clear();
        (self.fenced, self.heard) = (Token::NONE, 0);
        self.story.begin(hands);
    }

    fn signal(&mut self, entity: EntityId, signal: Signal, hands: &mut Hands<Wire>) {
        let Signal::Request { entity: asker, request, body } = signal else {
            return self.story.signal(entity, signal, hands);
        };
        match &*body {
            OutsideRequest::ApplyChange(change) if change.token.is_some() => {
                // Every second command stays in the device for as long as it may.
                self.heard += 1;
                if self.heard % 2 == 1 {
                    self.moves.push((asker, request, *body));
                } else {
                    self.act(hands);
                    answer(asker, request, *body, hands);
                }
            }
            OutsideRequest::FenceDevice(fence) => {
                self.fenced = self.fenced.max(fence.token);
                self.act(hands);
                answer(asker, request, *body, hands);
            }
            _ => answer(asker, request, *body, hands),
        }
    }

    fn answer(&mut self, call: CallId, wire: Wire, hands: &mut Hands<Wire>) {
        self.story.answer(call, wire, hands);
    }

    fn lost(&mut self, call: CallId, hands: &mut Hands<Wire>) {
        self.story.lost(call, hands);
    }

    fn waits_for(&self) -> Option<String> {
        self.story.waits_for()
    }

    fn restarted(&mut self, hands: &mut Hands<Wire>) {
        self.story.restarted(hands);
    }

    fn at_rest(&mut self, hands: &mut Hands<Wire>) {
        self.act(hands);
        self.story.at_rest(hands);
    }
}

/// A user of a metaverse system, with what it knows of its lease.
#[derive(Clone)]
struct Person {
    at: Ref<MetaverseSystemMsg>,
    metaverse: &'static str,
    name: &'static str,
    twin: TwinId,
    token: Rc<Cell<Token>>,
}

/// It was answered, one way or the other: somebody else may have the object.
fn either<A>(_: Result<A, Problem>) -> Heard {
    Heard::Done
}

impl Person {
    fn new(at: Ref<MetaverseSystemMsg>, metaverse: &'static str, name: &'static str, of: &str) -> Self {
        Self { at, metaverse, name, twin: twin(of), token: Rc::default() }
    }

    /// The same name for others to show.
    fn named(&self, name: &'static str) -> Self {
        Self { name, ..self.clone() }
    }

    /// FGMV-29 9.2 steps 8 to 12.
    fn permitted(&self, line: Line<Wire>) -> Line<Wire> {
        let (who, rights) = (self.clone(), rights());
        let question = move || RequestTwinPropertiesAndPermission {
            metaverse: system(who.metaverse),
            user: user(who.name),
            twins: Arc::from([who.twin.clone()]),
            rights: Arc::clone(&rights),
        };
        // FGMV-28 7.1.3 steps 1 to 5.
        let line = line.take(step_id!("7.1.3", "1")).ask(self.at, question, granted);
        line.take(step_id!("7.1.3", "4")).take(step_id!("7.1.3", "5"))
    }

    fn wish(&self, (ttl_ms, wait_ms): (u32, u32), id: u128) -> Arc<LeaseRequest> {
        Arc::new(LeaseRequest {
            user: user(self.name),
            world: None,
            class: HolderClass::Person,
            twins: vec![self.twin.clone()],
            request_id: Some(RequestId(id)),
            priority: None,
            ttl_ms,
            wait_ms,
            ask: false,
            requeue: false,
        })
    }

    /// FGMV-28 7.1.3 steps 6 to 11.
    fn request(&self, line: Line<Wire>, (ttl_ms, wait_ms): (u32, u32), id: u128) -> Line<Wire> {
        let (who, token) = (self.clone(), Rc::clone(&self.token));
        let request = move || RequestSyncLease {
            metaverse: system(who.metaverse),
            request: who.wish((ttl_ms, wait_ms), id),
            one_shot: false,
        };
        let heard = move |answer: Result<SyncLeaseGranted, Problem>| {
            // Nobody decided anything: an entity failed.
            if answer.as_ref().is_err_and(|problem| problem.kind == ProblemKind::Internal) {
                return Heard::Again;
            }
            token.set(answer.map_or(Token::NONE, |granted| granted.lease.token));
            Heard::Done
        };
        line.take(step_id!("7.1.3", "6")).ask(self.at, request, heard).take(step_id!("7.1.3", "11"))
    }

    fn shown(&self) -> Box<ShownToken> {
        let (metaverse, user) = (system(self.metaverse), user(self.name));
        Box::new(ShownToken { metaverse, user, twin: self.twin.clone(), token: self.token.get() })
    }

    /// FGMV-29 9.2 steps 15 to 18, under the lease or without one.
    fn change(&self, line: Line<Wire>, leased: bool, speed: &str) -> Line<Wire> {
        let (who, values) = (self.clone(), values("speed", speed));
        let change = move || ChangeTwin {
            metaverse: system(who.metaverse),
            user: user(who.name),
            twin: who.twin.clone(),
            values: Arc::clone(&values),
            token: leased.then(|| who.token.get()),
            terms: ChangeTerms::default(),
        };
        line.ask(self.at, change, either)
    }

    fn renew(&self, line: Line<Wire>) -> Line<Wire> {
        let who = self.clone();
        line.ask(self.at, move || RenewSyncLease { shown: who.shown(), ttl_ms: TTL_MS }, either)
    }

    fn release(&self, line: Line<Wire>) -> Line<Wire> {
        let who = self.clone();
        line.ask(self.at, move || ReleaseSyncLease { shown: who.shown() }, either)
    }
}

/// The plant opens and registers (FGMV-29 9.2 steps 1 to 3).
fn registering() -> Line<Wire> {
    let description = plant();
    Line::new("plant")
        .ask::<DigitalTwinSystemMsg, _>(PLANT, || OpenSystem { id: system("plant"), reach: None }, granted)
        .ask(PLANT, move || RegisterTwinSystem { description: description.clone() }, granted)
}

/// A metaverse system opens, and when line 0 has registered it selects both twins (FGMV-29 9.2 steps 6 and 7).
fn opening(name: &'static str, at: Ref<MetaverseSystemMsg>) -> Line<Wire> {
    let (twins, none) = (Arc::from([twin("arm"), twin("arm-shown")]), Arc::from([]));
    let select = move || SelectTwins {
        metaverse: system(name),
        metaverse_entity: at,
        twins: Arc::clone(&twins),
        release: Arc::clone(&none),
        period_ms: None,
    };
    Line::new(name)
        .ask(at, move || OpenSystem { id: system(name), reach: None }, granted)
        .after(0, 2)
        .ask(at, select, granted)
}

/// Ada, Bob and a guest of one metaverse system and Cleo of another want the arm, which has two twins: they wait,
/// change it, renew, are revoked and let go, while Dan changes it without a lease and Mallory shows Ada's token.
#[must_use]
pub fn procedure_7_1_3() -> World<Wire> {
    let ada = Person::new(WORLD, "world", "ada", "arm");
    let bob = Person::new(WORLD, "world", "bob", "arm-shown");
    let guest = Person::new(WORLD, "world", "guest", "arm");
    let cleo = Person::new(PLAZA, "plaza", "cleo", "arm");
    let dan = Person::new(PLAZA, "plaza", "dan", "arm-shown");
    let eve = Person::new(WORLD, "world", "eve", "arm-shown");
    let mallory = ada.named("mallory");
    let raised = raised();
    // Line 0.
    let registering = registering()
        // FGMV-28 REQ-DT-08: priorities change while leases are held and waited for.
        .after(1, 9)
        .ask(PLANT, move || SetSynchronization { twin: twin("arm"), synchronization: Arc::clone(&raised) }, either);
    // Line 1.
    let mut line = ada.permitted(opening("world", WORLD));
    line = ada.renew(ada.change(ada.request(line, (TTL_MS, WAIT_MS), 1), true, "3"));
    line = ada.release(ada.change(line, true, "4"));
    // Line 2.
    let mut line_of_bob = bob.permitted(Line::new("bob").after(1, 2));
    line_of_bob = bob.release(bob.change(bob.request(line_of_bob, (TTL_MS, WAIT_MS), 2), true, "5"));
    line_of_bob = bob.release(bob.request(line_of_bob.after(8, 7), (TTL_MS, LONGER_WAIT_MS), 6));
    // Line 3.
    let mut line_of_cleo = cleo.permitted(opening("plaza", PLAZA));
    line_of_cleo = cleo.release(cleo.change(cleo.request(line_of_cleo.after(1, 9), (TTL_MS, WAIT_MS), 3), true, "9"));
    line_of_cleo = cleo.release(cleo.request(line_of_cleo.after(8, 7), (TTL_MS, LONG_WAIT_MS), 5));
    // Line 4: refused at once if somebody has it.
    let mut line_of_guest = guest.permitted(Line::new("guest").after(1, 2));
    line_of_guest = guest.release(guest.request(line_of_guest, (TTL_MS, 0), 4));
    // Line 5: without a token.
    let line_of_dan = dan.change(dan.permitted(Line::new("dan").after(3, 2)), false, "2");
    // Line 6: what Ada was told is worth nothing to others.
    let line_of_mallory = mallory.change(mallory.permitted(Line::new("mallory").after(1, 9)), true, "7");
    // Line 7: Bob's request again, as by a client that heard nothing.
    let again = bob.named("bob");
    let line_again =
        Person { token: Rc::default(), ..again }.request(Line::new("again").after(2, 7), (TTL_MS, WAIT_MS), 2);
    // Line 8: somebody who does not let go.
    let line_of_eve = eve.permitted(Line::new("eve").after(1, 2)).after(1, 13);
    let line_of_eve = eve.request(line_of_eve, (LONG_TTL_MS, WAIT_MS), 7);
    let lines = vec![
        registering,
        line,
        line_of_bob,
        line_of_cleo,
        line_of_guest,
        line_of_dan,
        line_of_mallory,
        line_again,
        line_of_eve,
    ];
    let story = Story::new(lines).on_signal(outsiders::answer);
    let steps = StepsAreTaken::at_least("7.1.3", &STEPS);
    enabler(SlowPlant::new(story)).rule(steps)
}
