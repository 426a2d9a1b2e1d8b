//! FGMV-28 7.1.3 where several users are told no at once: by an object that does not answer, and by who holds it.

use twinway_protocol::message::{RequestSyncLeases, SyncLeasesDecided};

use super::*;

/// Longer than any gate may take, in milliseconds.
const WAIT_MS: u32 = 40_000;

/// Ada drives the arm, which stops answering. Four others want it meanwhile: its gate cannot be fenced for the highest of
/// them, and all are told so, most of them in one turn. When it answers again, Ada has it again.
#[must_use]
pub fn procedure_7_1_3_silent() -> World<Wire> {
    let ada = Person::new(WORLD, "world", "ada", "arm");
    let silent = Rc::default();
    let line = ada.permitted(opening("world", WORLD));
    let line = leased(&ada, line, 1, &silent, true);
    let line = ada.change(line, true, "3").after(2, 7).after(3, 7).after(4, 7).after(5, 7);
    let line = leased(&ada, line, 6, &silent, false);
    let wants = |name: &'static str, twin: &str, wait_ms: u32, id: u128| {
        let who = Person::new(WORLD, "world", name, twin);
        who.request(who.permitted(Line::new(name).after(1, 2)).after(1, 9), (LONG_TTL_MS, wait_ms), id)
    };
    let cleo = wants("cleo", "arm", WAIT_MS, 2);
    let bob = wants("bob", "arm-shown", WAIT_MS, 3);
    let eve = wants("eve", "arm", WAIT_MS, 4);
    let guest = wants("guest", "arm-shown", 0, 5);
    let answers = move |asked: OutsideRequest, _: &mut Hands<Wire>| match asked {
        OutsideRequest::ApplyChange(_) | OutsideRequest::FenceDevice(_) if silent.get() => None,
        asked => Some(willing(asked)),
    };
    let story = Story::new(vec![registering(), line, cleo, bob, eve, guest]).on_signal(outsiders::answering(answers));
    let steps: &[(&str, u32)] =
        &[("1", 5), ("4", 5), ("5", 5), ("6", 6), ("7", 6), ("8", 2), ("9", 2), ("10", 6), ("11", 6)];
    enabler(story).rule(StepsAreTaken::at_least("7.1.3", steps))
}

/// FGMV-28 7.1.3 steps 6 to 11 of a user who gets the object, which answers then, and may be silent from then on.
fn leased(who: &Person, line: Line<Wire>, id: u128, is_silent: &Rc<Cell<bool>>, silent: bool) -> Line<Wire> {
    let (asking, hearing) = (who.clone(), Rc::clone(&who.token));
    let (answering, is_silent) = (Rc::clone(is_silent), Rc::clone(is_silent));
    let request = move || {
        answering.set(false);
        let request = asking.wish((LONG_TTL_MS, WAIT_MS), id);
        RequestSyncLease { metaverse: system(asking.metaverse), request, one_shot: false }
    };
    let heard = move |answer: Result<SyncLeaseGranted, Problem>| match answer {
        Ok(granted) => {
            hearing.set(granted.lease.token);
            is_silent.set(silent);
            Heard::Done
        }
        // Nobody decided anything: an entity failed.
        Err(problem) if problem.kind == ProblemKind::Internal => Heard::Again,
        Err(problem) => Heard::Spoilt(format!("refused: {}: {}", problem.kind.slug(), problem.detail)),
    };
    line.take(step_id!("7.1.3", "6")).ask(who.at, request, heard).take(step_id!("7.1.3", "11"))
}

/// Ada, Bob and a guest are decided together: first while Eve has the arm, and nobody of them gets it; then again.
#[must_use]
pub fn procedure_7_1_3_together() -> World<Wire> {
    let eve = Person::new(PLAZA, "plaza", "eve", "arm");
    let [ada, bob, guest] = ["ada", "bob", "guest"].map(|name| Person::new(WORLD, "world", name, "arm"));
    let line = eve.permitted(opening("plaza", PLAZA));
    let line_of_eve = eve.release(eve.request(line, (LONG_TTL_MS, LONG_WAIT_MS), 1).after(2, 17));
    let line = guest.permitted(bob.permitted(ada.permitted(opening("world", WORLD))));
    let users = [ada, bob, guest];
    // All of them lose, and hear so; when Eve has let go, exactly one is integrated, and the others wait in vain.
    let line = together(line.after(1, 9), &users, (0, 10), 0);
    let line = together(line.after(1, 10), &users, (LONG_WAIT_MS, 20), 1);
    let story = Story::new(vec![registering(), line_of_eve, line]).on_signal(outsiders::answer);
    let steps: &[(&str, u32)] =
        &[("1", 4), ("4", 4), ("5", 4), ("6", 3), ("7", 3), ("8", 2), ("9", 2), ("10", 3), ("11", 3)];
    enabler(story).rule(StepsAreTaken::at_least("7.1.3", steps))
}

/// FGMV-28 7.1.3 steps 6 to 11 for several users at once, so many of whom are to succeed.
fn together(line: Line<Wire>, users: &[Person], (wait_ms, id): (u32, u128), winners: usize) -> Line<Wire> {
    let requests: Arc<[_]> = (id..).zip(users).map(|(id, who)| who.wish((LONG_TTL_MS, wait_ms), id)).collect();
    let request = move || RequestSyncLeases { metaverse: system("world"), requests: Arc::clone(&requests) };
    let decided = move |answer: Result<SyncLeasesDecided, Problem>| match answer {
        Ok(decided) if decided.answers.iter().filter(|answer| answer.is_ok()).count() == winners => Heard::Done,
        Ok(decided) => Heard::Spoilt(format!("decided {:?}", decided.answers)),
        Err(problem) => Heard::Wrong(format!("refused: {}: {}", problem.kind.slug(), problem.detail)),
    };
    line.take(step_id!("7.1.3", "6")).ask(WORLD, request, decided).take(step_id!("7.1.3", "11"))
}
