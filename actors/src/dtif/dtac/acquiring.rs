//! What third-party systems may read (FGMV-29 9.1 step 17).

use twinway_protocol::{
    Out, Problem, ProblemKind, TwinId,
    access::Right,
    message::{AcquisitionVerified, DTDA, TwinAccessChanged, TwinRefusal, VerifyAcquisition},
};

use super::Dtac;

impl Dtac {
    /// FGMV-29 9.1 step 17: which of the twins a third-party system may read, each judged by itself.
    pub(super) fn verify_acquisition(&self, acquisition: &VerifyAcquisition) -> AcquisitionVerified {
        let refused = acquisition.twins.iter().filter_map(|twin| {
            let problem = self.may_read(acquisition, twin).err()?;
            Some(TwinRefusal { twin: twin.clone(), problem })
        });
        AcquisitionVerified { refused: refused.collect() }
    }

    fn may_read(&self, acquisition: &VerifyAcquisition, twin: &TwinId) -> Result<(), Problem> {
        let known = self.known(twin)?;
        let may_read = self.access(known).iter().any(|(system, rights)| {
            (*system == acquisition.system || system.as_str() == "*") && rights.contains(&Right::Read)
        });
        if may_read {
            return Ok(());
        }
        let detail = format!("`{}` may not read `{twin}`", acquisition.system);
        Err(Problem::new(ProblemKind::PermissionMissing, detail))
    }
}

/// DTDA weighs again what third-party systems have subscribed to, when that may come out otherwise than before.
pub(super) fn tell_access(changed: Vec<TwinId>, gone: Vec<TwinId>, out: &mut Out<'_, Dtac>) {
    if !changed.is_empty() || !gone.is_empty() {
        out.send(DTDA, TwinAccessChanged { changed, gone });
    }
}
