//! What the supervisor lets be seen of its table, for the judge of the invariants; only where somebody judges.

use twinway_protocol::{
    EntityId, Out,
    lease::{
        Effect, Input, ObjectView, Table,
        watch::{LINE_SEEN_MAX, Watched},
    },
    signal::Signal,
};

use super::SyncSupervisor;

impl SyncSupervisor {
    /// A life begins: with all that is known.
    pub(super) fn show_beginning(&self, out: &mut Out<'_, Self>) {
        if !self.watched {
            return;
        }
        let (mut records, mut changes) = (Vec::new(), Vec::new());
        for object in std::iter::once(None).chain(self.table.objects(0).map(Some)) {
            self.table.snapshot(object, &mut changes);
            records.extend(changes.drain(..).map(|change| (object, change)));
        }
        out.signal(Signal::LeaseWatched(Box::new(Watched::Began { records }), out.now()));
    }

    /// The table has taken a step. Said before anything that follows from it leaves.
    pub(super) fn show_step(&self, input: Input, effects: &[Effect], out: &mut Out<'_, Self>) {
        let mut views = Vec::new();
        for effect in effects {
            if let Effect::Record(Some(object), _) | Effect::Fence { object, .. } = effect {
                view(&self.table, *object, &mut views);
            }
        }
        // A set that waits could have all of its objects, or lacks one: both take them all to see.
        let of_sets: Vec<EntityId> = views
            .iter()
            .filter_map(|view| view.queue.first())
            .flat_map(|first| first.objects.as_slice().iter().map(|wanted| wanted.object))
            .collect();
        of_sets.into_iter().for_each(|object| view(&self.table, object, &mut views));
        let watched = Watched::Step { input, effects: effects.to_vec(), views };
        out.signal(Signal::LeaseWatched(Box::new(watched), out.now()));
    }
}

fn view(table: &Table, object: EntityId, views: &mut Vec<ObjectView>) {
    if !views.iter().any(|view| view.object == object) {
        views.extend(table.view(object, LINE_SEEN_MAX));
    }
}
