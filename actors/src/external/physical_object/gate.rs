//! The gate itself: which commands it lets through (FGMV-29 9.2 step 17; FGMV-28 7.1.3 step 11).

use std::sync::Arc;

use twinway_protocol::{
    Problem, ProblemKind, SystemId, UserId,
    lease::{
        self, Claimant, HolderClass, Priority, Token,
        mutation::{Mutation, broken},
    },
    message::LeaseParty,
    problem::LeaseContext,
};

/// Who is let through, and on which terms.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    pub(super) token: Token,
    /// Nobody: the gate is shut.
    pub(super) to: Option<Arc<Claimant>>,
    pub(super) priority: Priority,
    /// Only the safe stop is let through.
    pub(super) restricted: bool,
}

/// The gate of a physical object.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Fenced in this life. None: the gate has begun a life, and lets nothing through.
    pub(super) fenced: Option<Holder>,
    /// Until when, by the monotonic clock in milliseconds.
    deadline_ms: u64,
    /// Until when at least the holder has the object that it is being fenced for, if that was said meanwhile.
    extended_ms: u64,
    /// A fence is worked on for whoever comes next: the gate is shut.
    pub(super) closing: Option<Holder>,
    /// The token before the newest, if the gate was told of it in this life: what lies between is no token of this object.
    previous: Token,
}

impl Gate {
    /// The newest token that the gate was told of in this life.
    pub(super) fn newest(&self) -> Token {
        let newest = self.closing.as_ref().or(self.fenced.as_ref());
        newest.map_or(Token::NONE, |holder| holder.token)
    }

    /// Whether the newest token is somebody's.
    pub(super) fn is_anybodys(&self) -> bool {
        let newest = self.closing.as_ref().or(self.fenced.as_ref());
        newest.is_some_and(|holder| holder.to.is_some())
    }

    /// From now on nothing passes, until the fence is done.
    pub(super) fn shut(&mut self, next: Holder) {
        self.previous = self.newest();
        self.closing = Some(next);
        self.extended_ms = 0;
    }

    /// The fence is done.
    pub(super) fn open(&mut self, deadline_ms: u64) {
        if let Some(next) = self.closing.take() {
            self.fenced = Some(next);
            self.deadline_ms = deadline_ms.max(self.extended_ms);
        }
    }

    /// Whether `token` is the one that passes now.
    fn passing(&self, token: Token) -> bool {
        self.closing.is_none() && self.fenced.as_ref().is_some_and(|fenced| fenced.token == token)
    }

    /// The holder keeps the object for longer: never for less. One that it is being fenced for has it from then on.
    ///
    /// # Errors
    /// [`ProblemKind::LeaseLost`] when it is not the newest token.
    pub(super) fn extend(&mut self, token: Token, deadline_ms: u64) -> Result<(), Problem> {
        if token != self.newest() {
            let detail = format!("the object's token is {} now", self.newest());
            return Err(Problem::new(ProblemKind::LeaseLost, detail));
        }
        let until_ms = if self.closing.is_some() { &mut self.extended_ms } else { &mut self.deadline_ms };
        *until_ms = deadline_ms.max(*until_ms);
        Ok(())
    }

    /// The holder is being revoked, or is no more. Tells whether the newest token is meant.
    pub(super) fn restrict(&mut self, token: Token, restricted: bool) -> bool {
        let holders = [self.closing.as_mut(), self.fenced.as_mut()];
        for holder in holders.into_iter().flatten().filter(|holder| holder.token == token) {
            holder.restricted = restricted;
        }
        token == self.newest()
    }

    /// The holder weighs something else than when the gate was fenced for it.
    pub(super) fn weigh(&mut self, token: Token, priority: Priority) {
        let holders = [self.closing.as_mut(), self.fenced.as_mut()];
        for holder in holders.into_iter().flatten().filter(|holder| holder.token == token) {
            holder.priority = priority;
        }
    }

    /// The whole name of a user whose command passes: that of the holder, if it is the same user.
    pub(super) fn named(&self, metaverse: &SystemId, user: &UserId) -> lease::Holder {
        let holder = self.fenced.as_ref().and_then(|fenced| Some(&fenced.to.as_ref()?.holder));
        let same = holder.filter(|holder| holder.system == *metaverse && holder.user == *user);
        same.cloned().unwrap_or_else(|| lease::Holder {
            user: user.clone(),
            world: metaverse.into(),
            system: metaverse.clone(),
            class: HolderClass::Person,
        })
    }

    /// How long the holder still has the object, in milliseconds.
    pub(super) fn left_ms(&self, now_ms: u64) -> u64 {
        self.deadline_ms.saturating_sub(now_ms)
    }

    /// Whether a command of `token` may pass that `user` of `metaverse` sends.
    pub(super) fn check(
        &self,
        token: Option<Token>,
        metaverse: &SystemId,
        user: &UserId,
        now_ms: u64,
    ) -> Result<Token, Problem> {
        let is = |to: &Arc<Claimant>| to.holder.system == *metaverse && to.holder.user == *user;
        let Some(token) = token else {
            let detail = "a change of a physical object shows the token of a lease";
            return Err(self.told(ProblemKind::LeaseHeld, detail, metaverse, now_ms));
        };
        if broken(Mutation::GateOpen) {
            return Ok(token);
        }
        let newest = self.closing.as_ref().or(self.fenced.as_ref());
        let Some(newest) = newest else {
            let detail = "nobody was given the object since its gate began this life; if a lease on it stands, its new token comes";
            return Err(Problem::new(ProblemKind::LeaseTokenStale, detail));
        };
        let between = self.previous != Token::NONE && self.previous < token && token.epoch == newest.token.epoch;
        if token < newest.token && !between {
            if newest.to.as_ref().is_some_and(is) {
                if self.closing.is_some() {
                    // The new token is told with the grant, and that only when the gate has answered.
                    let detail = "the gate is being fenced for this user's new token";
                    return Err(Problem::new(ProblemKind::LeaseTokenStale, detail));
                }
                let detail = format!("the token of this user is {} now", newest.token);
                return Err(self.told(ProblemKind::LeaseTokenStale, detail, metaverse, now_ms));
            }
            let detail = format!("the object's token is {} now", newest.token);
            return Err(self.told(ProblemKind::LeaseLost, detail, metaverse, now_ms));
        }
        let Some(fenced) = self.fenced.as_ref().filter(|_| self.passing(token)) else {
            // Nobody was told of a newer token of this object, nor of one between its last two: one of this epoch is another
            // object's, or was guessed.
            let newest = self.newest();
            let kind = if newest.epoch == token.epoch && newest != token {
                ProblemKind::LeaseTokenForeign
            } else {
                ProblemKind::LeaseTokenUnknown
            };
            return Err(Problem::new(kind, format!("{token} was not granted for this object")));
        };
        let Some(to) = &fenced.to else {
            let detail = format!("{token} is nobody's");
            return Err(Problem::new(ProblemKind::LeaseTokenUnknown, detail));
        };
        if !is(to) && !broken(Mutation::AnybodysToken) {
            let detail = format!("{token} is not of `{user}` of `{metaverse}`");
            return Err(Problem::new(ProblemKind::LeaseNotYours, detail));
        }
        if fenced.restricted && !broken(Mutation::RestrictionIgnored) {
            let detail = "the lease is being revoked: only the safe stop passes";
            return Err(self.told(ProblemKind::LeaseRevoking, detail, metaverse, now_ms));
        }
        if self.left_ms(now_ms) == 0 {
            let detail = "the lease was not renewed in time";
            return Err(self.told(ProblemKind::LeaseLost, detail, metaverse, now_ms));
        }
        Ok(token)
    }

    /// A problem with who has the object, or is about to, as far as `metaverse` may know.
    fn told(&self, kind: ProblemKind, detail: impl Into<String>, metaverse: &SystemId, now_ms: u64) -> Problem {
        let newest = self.closing.as_ref().or(self.fenced.as_ref());
        let party = newest.and_then(|holder| {
            let who = &holder.to.as_ref()?.holder;
            let own = who.system == *metaverse;
            Some(LeaseParty {
                user: own.then(|| who.user.clone()),
                world: own.then(|| who.world.clone()),
                system: own.then(|| who.system.clone()),
                class: who.class,
                priority: holder.priority,
            })
        });
        let held = party.is_some() && self.closing.is_none();
        let lease = LeaseContext {
            holder: party,
            token: newest.map(|holder| holder.token),
            expires_in_ms: held.then(|| self.left_ms(now_ms)),
        };
        Problem::new(kind, detail).with_lease(lease)
    }
}
