//! What a run keeps: its history, its checkpoints and its fingerprint.

mod checkpoint;
mod events;
mod history;
mod identity;
mod keeper;
mod record;

pub use checkpoint::Existing;
pub(super) use checkpoint::{Folder, PARTS, Saved};
pub(super) use events::Events;
pub use history::{Epoch, History};
pub(super) use identity::{DataIdentity, Identity, groups, learning_rates, lines, probe};
pub(super) use keeper::Keeper;
pub(super) use record::Record;
