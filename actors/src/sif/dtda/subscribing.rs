//! Subscriptions: made, read, listed, ended (FGMV-29 8.2.5).

use std::{collections::BTreeSet, sync::Arc};

use twinway_protocol::{
    Asker, Behaviour, Meta, Out, Problem, ProblemKind, SubscriptionId, SystemId,
    message::{
        AcquisitionResponse, DeliverTwinInformation, DeliveryReason, EndTwinSubscription, ForwardAcquisition,
        ListTwinSubscriptions, RenewTwinSubscription, SubscribeTwinInformation, SubscriptionTerms, TSI,
        TwinSubscription, TwinSubscriptionShown, TwinSubscriptionsListed,
    },
    registry::Page,
};

use super::{Dtda, DtdaRecord, Made, Waiting, delivering::expiry_key, judge};

/// The least time between two deliveries of who says nothing of it, in milliseconds.
const MIN_INTERVAL_MS: u64 = 1_000;
/// The lifetime of a subscription of which nothing is said, in milliseconds.
const LIFETIME_MS: u64 = 86_400_000;

/// A subscription that waits for what its twins are.
#[derive(Debug)]
pub(super) struct Subscribing {
    pub(super) asker: Asker<SubscribeTwinInformation>,
    question: SubscribeTwinInformation,
}

impl Dtda {
    /// What may be read is asked first: the subscription begins with what the twins are.
    pub(super) fn subscribe(&mut self, meta: &Meta, question: SubscribeTwinInformation, out: &mut Out<'_, Self>) {
        let asker = meta.asker(out.event());
        if let Err(problem) = self.check_terms(&question.terms).and_then(|()| self.check_room(&question.system)) {
            return out.reply(asker, Err(problem));
        }
        let terms = &question.terms;
        let forward = ForwardAcquisition {
            system: question.system.clone(),
            twins: terms.twins.clone().into(),
            properties: terms.properties.clone().map(Arc::new),
            observe: terms.period_ms.is_none(),
        };
        match self.waiting.insert(Waiting::Subscribing(Box::new(Subscribing { asker, question }))) {
            Ok(key) => out.ask_beside(TSI, forward, key),
            Err(waiting) => Self::refuse(waiting, out),
        }
    }

    fn check_terms(&self, terms: &SubscriptionTerms) -> Result<(), Problem> {
        self.check_twins(&terms.twins)?;
        let invalid =
            |pointer: &str, detail: String| Err(Problem::new(ProblemKind::InvalidDocument, detail).at(pointer));
        if terms.properties.as_ref().is_some_and(BTreeSet::is_empty) {
            return invalid("/properties", "at least one property is expected here, or nothing at all".to_owned());
        }
        if terms.period_ms.is_some() && terms.min_interval_ms.is_some() {
            return invalid("/minIntervalMs", "a subscription by period has no interval between changes".to_owned());
        }
        self.check_times(&[
            ("/periodMs", terms.period_ms),
            ("/minIntervalMs", terms.min_interval_ms),
            ("/lifetimeMs", terms.lifetime_ms),
        ])
    }

    fn check_times(&self, named: &[(&str, Option<u64>)]) -> Result<(), Problem> {
        let least = self.settings.twin_subscription_interval_ms_min;
        let most = self.settings.twin_subscription_lifetime_ms_max;
        match named.iter().find(|(_, value)| value.is_some_and(|value| !(least..=most).contains(&value))) {
            Some((pointer, _)) => {
                let detail = format!("from {least} to {most} milliseconds are expected here");
                Err(Problem::new(ProblemKind::InvalidDocument, detail).at(*pointer))
            }
            None => Ok(()),
        }
    }

    fn lifetime_ms(&self, wanted: Option<u64>) -> u64 {
        wanted.unwrap_or(LIFETIME_MS).min(self.settings.twin_subscription_lifetime_ms_max)
    }

    fn check_room(&self, system: &SystemId) -> Result<(), Problem> {
        let of_system = self.register.of_system(system).count();
        let (name, limit) = if of_system >= self.settings.twin_subscriptions_max {
            ("twin_subscriptions_max", self.settings.twin_subscriptions_max)
        } else if self.register.all.len() >= self.settings.twin_subscriptions_total_max {
            ("twin_subscriptions_total_max", self.settings.twin_subscriptions_total_max)
        } else {
            return Ok(());
        };
        Err(Problem::new(ProblemKind::LimitReached, format!("{name} is {limit}")))
    }

    /// The subscription is durable before it is answered, and what the twins are follows the answer.
    pub(super) fn subscribed(
        &mut self,
        subscribing: Subscribing,
        answer: Result<AcquisitionResponse, Problem>,
        out: &mut Out<'_, Self>,
    ) {
        let Subscribing { asker, question: SubscribeTwinInformation { system, entity, terms } } = subscribing;
        // Another one may have come meanwhile.
        let answer = answer.and_then(|response| self.check_room(&system).and_then(|()| judge(response, terms.strict)));
        let begun = answer.and_then(|response| match response.refused.first().filter(|_| response.twins.is_empty()) {
            Some(first) => Err(first.problem.clone()),
            None => Ok((self.fresh_id(&system, out)?, response)),
        });
        let (id, AcquisitionResponse { twins, refused }) = match begun {
            Ok(begun) => begun,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        let now = out.now().wall;
        let lifetime_ms = self.lifetime_ms(terms.lifetime_ms);
        let subscription = TwinSubscription {
            id: id.clone(),
            system,
            twins: twins.iter().map(|view| view.id.clone()).collect(),
            properties: terms.properties,
            period_ms: terms.period_ms,
            min_interval_ms: terms.min_interval_ms.or(terms.period_ms).unwrap_or(MIN_INTERVAL_MS),
            created_at: now,
            expires_at: now.plus_ms(lifetime_ms),
        };
        let number = self.register.all.next();
        let made = Made { number, entity, subscription: subscription.clone() };
        self.write(number, DtdaRecord::Subscribed(Box::new(made)), out);
        out.timer(lifetime_ms, expiry_key(number));
        out.reply(asker, Ok(TwinSubscriptionShown { subscription: Box::new(subscription), refused }));
        self.begin(number, &twins, out);
        let reason = DeliveryReason::Subscribed;
        out.send(entity, DeliverTwinInformation { subscription: id, reason, twins, refused: Vec::new() });
    }

    fn fresh_id(&self, system: &SystemId, out: &mut Out<'_, Self>) -> Result<SubscriptionId, Problem> {
        loop {
            let id = SubscriptionId::new(format!("sub-{:016x}", out.chance()))
                .map_err(|error| Problem::new(ProblemKind::Internal, error.to_string()))?;
            if self.register.find(system, &id).is_none() {
                return Ok(id);
            }
        }
    }

    /// Only the third-party system whose subscription it is learns that it exists.
    pub(super) fn read(&self, system: &SystemId, id: &SubscriptionId) -> Result<TwinSubscriptionShown, Problem> {
        let running = self.register.find(system, id).and_then(|number| self.register.all.get(number));
        let running = running.ok_or_else(|| {
            Problem::new(ProblemKind::SubscriptionUnknown, format!("`{system}` has no subscription `{id}`"))
        })?;
        let subscription = Box::new(running.made.subscription.clone());
        Ok(TwinSubscriptionShown { subscription, refused: Vec::new() })
    }

    pub(super) fn list(&self, question: &ListTwinSubscriptions) -> TwinSubscriptionsListed {
        let all = self.register.of_system(&question.system).filter_map(|(id, number)| {
            let running = self.register.all.get(number)?;
            Some((id.as_str(), &running.made.subscription))
        });
        let page = Page::of(all, question.cursor.as_deref(), question.limit, TwinSubscription::clone);
        TwinSubscriptionsListed { page: Box::new(page) }
    }

    /// It lasts longer, and never ends earlier than was said before. The timer of its end looks again when it runs out.
    pub(super) fn renew(
        &mut self,
        question: &RenewTwinSubscription,
        out: &mut Out<'_, Self>,
    ) -> Result<TwinSubscriptionShown, Problem> {
        let mut shown = self.read(&question.system, &question.subscription)?;
        self.check_times(&[("/lifetimeMs", question.lifetime_ms)])?;
        let expires_at = out.now().wall.plus_ms(self.lifetime_ms(question.lifetime_ms));
        if expires_at > shown.subscription.expires_at
            && let Some(number) = self.register.find(&question.system, &question.subscription)
        {
            shown.subscription.expires_at = expires_at;
            self.write(number, DtdaRecord::Renewed { number, expires_at }, out);
        }
        Ok(shown)
    }

    pub(super) fn end_wanted(
        &mut self,
        question: &EndTwinSubscription,
        out: &mut Out<'_, Self>,
    ) -> Result<TwinSubscriptionShown, Problem> {
        let shown = self.read(&question.system, &question.subscription)?;
        if let Some(number) = self.register.find(&question.system, &question.subscription) {
            self.write(number, DtdaRecord::Ended(number), out);
        }
        Ok(shown)
    }

    /// FGMV-29 8.2.1: with its registration end a system's subscriptions.
    pub(super) fn end_all(&mut self, system: &SystemId, out: &mut Out<'_, Self>) {
        let numbers: Vec<u64> = self.register.of_system(system).map(|(_, number)| number).collect();
        for number in numbers {
            self.write(number, DtdaRecord::Ended(number), out);
        }
    }

    pub(super) fn write(&mut self, number: u64, record: DtdaRecord, out: &mut Out<'_, Self>) {
        out.record(number, record.clone());
        self.replay(record);
    }
}
