//! Information of twins from the selected system (FGMV-29 8.3.3; 9.2 steps 8 to 10): cached, with its age, and refreshed
//! when that is asked for.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use twinway_protocol::{
    Problem, ProblemKind, TwinId, UserId,
    registry::Health,
    time::Timestamp,
    twin::{Freshness, InformationSource, TwinInformationOf, TwinView},
};

use super::{Enabler, Mii};

/// How fresh information of a twin has to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The user for whom the twin system is asked; needed where it has to be.
    pub user: Option<UserId>,
    /// A bound that the answer keeps: no value in it is older, in milliseconds, or there is no answer.
    pub max_age_ms: Option<u64>,
    /// Ask the twin system in any case; if it does not answer, what is known is answered, and that it is stale.
    pub refresh: bool,
}

impl Mii {
    /// A twin with the age of what is known of it (FGMV-29 8.3.3). Without a wish it is what the twin system said last;
    /// `stale` says that the system cannot be heard now.
    ///
    /// # Errors
    /// [`ProblemKind::TwinUnknown`]; no permission of the user to read it, where the twin system had to be asked; and where
    /// a bound cannot be kept, what the twin system answered instead: [`ProblemKind::OutsideUnreachable`] and its like.
    pub async fn twin_information(&self, twin: &TwinId, wanted: Wanted) -> Result<TwinInformationOf, Problem> {
        let view = self.twin(twin)?;
        let asked_at = wall();
        let bound = wanted.max_age_ms.map(|ms| Timestamp::from_unix_ms(asked_at.unix_ms().saturating_sub(ms)));
        let is_old = bound.is_some_and(|bound| view.properties.is_empty() || view.older_than(bound).is_some());
        if !wanted.refresh && !is_old {
            return Ok(self.aged(view, InformationSource::Cached));
        }
        let no_user = || Problem::new(ProblemKind::InvalidQuery, "to ask the twin system, `user` is needed");
        let refreshed = self.refresh_twin(wanted.user.ok_or_else(no_user)?, twin.clone()).await;
        let problem = match refreshed {
            Ok(_) => {
                let view = self.twin(twin)?;
                let since = bound.map_or(asked_at, |bound| bound.min(asked_at));
                let Some(name) = view.older_than(since) else { return Ok(self.aged(view, InformationSource::Fresh)) };
                let detail = format!("the twin system was asked, and gave no value for `{name}`");
                Problem::new(ProblemKind::OutsideFailed, detail)
            }
            // The twin system was not asked at all.
            Err(problem) if problem.is_rejection() => return Err(problem),
            Err(problem) => problem,
        };
        if is_old {
            return Err(problem);
        }
        let mut shown = self.aged(self.twin(twin)?, InformationSource::Cached);
        shown.freshness = shown.freshness.stale(&problem);
        Ok(shown)
    }

    fn aged(&self, view: Arc<TwinView>, source: InformationSource) -> TwinInformationOf {
        let freshness = freshness(&self.enabler, &view, source);
        TwinInformationOf { view: view.shown_to(&self.id), freshness }
    }
}

/// How old what a twin shows is, and whether its system can be heard.
pub(crate) fn freshness(enabler: &Enabler, view: &TwinView, source: InformationSource) -> Freshness {
    let freshness = Freshness::of(view, source, wall());
    let outside = enabler.outside();
    let health = outside.twin_system(&view.system).map(|system| outside.standing(system.entity.id()).health);
    match health {
        Some(health @ (Health::Offline | Health::Expired)) if source == InformationSource::Cached => {
            let how = if health == Health::Offline { "offline" } else { "expired" };
            let detail = format!("the twin system `{}` is {how}", view.system);
            freshness.stale(&Problem::new(ProblemKind::OutsideUnreachable, detail))
        }
        _ => freshness,
    }
}

/// The wall clock.
pub(crate) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
