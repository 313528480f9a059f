//! What stands around every page.

/// The version that its foot names.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The parts of the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Jobs,
    Models,
    Compare,
    Agents,
    Prices,
    Help,
}

/// The main navigation: section, path and name.
pub(crate) const SECTIONS: &[(Section, &str, &str)] = &[
    (Section::Jobs, "/jobs", "Jobs"),
    (Section::Models, "/models", "Models"),
    (Section::Compare, "/compare", "Compare"),
    (Section::Agents, "/agents", "Agents"),
    (Section::Prices, "/prices", "Prices"),
    (Section::Help, "/help", "Help"),
];

/// What a page knows of its visitor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    pub section: Option<Section>,
    /// Absent before somebody has signed in.
    pub shows_navigation: bool,
    /// Whether there is a session to end.
    pub signed_in: bool,
    /// What every form carries, so that no other site can send it.
    pub csrf: String,
}

impl Frame {
    pub(crate) fn is_in(&self, section: &Section) -> bool {
        self.section.as_ref() == Some(section)
    }
}
