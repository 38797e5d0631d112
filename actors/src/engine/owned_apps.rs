//! Which apps this process owns: it works on their webhooks. Sessions of the others are served all the same.

use dashmap::DashMap;

use crate::{
    id::{AppId, Fence},
    tuning::Owned,
};

/// The apps that this process owns, each with the fence of its ownership.
#[derive(Debug)]
pub(super) enum OwnedApps {
    All,
    Leased(DashMap<AppId, Fence>),
}

impl OwnedApps {
    pub(super) fn new(owned: Owned) -> Self {
        match owned {
            Owned::AllApps => Self::All,
            Owned::LeasedApps => Self::Leased(DashMap::new()),
        }
    }

    /// Returns the fence of an app; `None`: the app is not owned.
    pub(super) fn fence(&self, app: AppId) -> Option<Fence> {
        match self {
            Self::All => Some(Fence::UNCHECKED),
            Self::Leased(apps) => apps.get(&app).map(|fence| *fence),
        }
    }

    /// Adds an app, unless it is owned under a later fence already. Without effect where all are owned.
    pub(super) fn add(&self, app: AppId, fence: Fence) {
        if let Self::Leased(apps) = self {
            apps.entry(app).and_modify(|known| *known = fence.max(*known)).or_insert(fence);
        }
    }

    /// Removes an app. Without effect where all are owned.
    pub(super) fn remove(&self, app: AppId) {
        if let Self::Leased(apps) = self {
            apps.remove(&app);
        }
    }

    /// Returns the apps that were added, with their fences.
    pub(super) fn added(&self) -> Vec<(AppId, Fence)> {
        match self {
            Self::All => Vec::new(),
            Self::Leased(apps) => apps.iter().map(|app| (*app.key(), *app.value())).collect(),
        }
    }
}
