//! What rules speak of: resources, capabilities, and a rule once it is understood.

use std::sync::Arc;

use crate::access_glob::Glob;

/// A set of capabilities.
pub(crate) type Capabilities = u16;

pub(crate) const READ: Capabilities = 1;
pub(crate) const WRITE: Capabilities = 1 << 1;
pub(crate) const LIST: Capabilities = 1 << 2;
pub(crate) const DELETE: Capabilities = 1 << 3;
const REGISTER: Capabilities = 1 << 4;
const DEREGISTER: Capabilities = 1 << 5;
const CREATE: Capabilities = 1 << 6;
const RESTORE: Capabilities = 1 << 7;
const EXPORT: Capabilities = 1 << 8;
const IMPORT: Capabilities = 1 << 9;
const ADMIN: Capabilities = 1 << 10;
pub(crate) const DENY: Capabilities = 1 << 15;

const NAMES: [(&str, Capabilities); 12] = [
    ("read", READ),
    ("write", WRITE),
    ("list", LIST),
    ("delete", DELETE),
    ("register", REGISTER),
    ("deregister", DEREGISTER),
    ("create", CREATE),
    ("restore", RESTORE),
    ("export", EXPORT),
    ("import", IMPORT),
    ("admin", ADMIN),
    ("deny", DENY),
];

/// What a rule of a resource names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Selector {
    /// A path: one star stops at slashes.
    Path,
    /// A name: stars do not.
    Name,
    /// Nothing.
    None,
}

/// What there is to guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    Kv,
    Service,
    Health,
    Backup,
    Admin,
    Agent,
    Event,
    Query,
    Session,
}

pub(crate) const RESOURCES: [Resource; 9] = [
    Resource::Kv,
    Resource::Service,
    Resource::Health,
    Resource::Backup,
    Resource::Admin,
    Resource::Agent,
    Resource::Event,
    Resource::Query,
    Resource::Session,
];

impl Resource {
    fn of(name: &str) -> Option<Self> {
        RESOURCES.into_iter().find(|resource| resource.name() == name)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kv => "kv",
            Self::Service => "service",
            Self::Health => "health",
            Self::Backup => "backup",
            Self::Admin => "admin",
            Self::Agent => "agent",
            Self::Event => "event",
            Self::Query => "query",
            Self::Session => "session",
        }
    }

    const fn selector(self) -> Selector {
        match self {
            Self::Kv => Selector::Path,
            Self::Service | Self::Agent | Self::Event | Self::Query | Self::Session => Selector::Name,
            Self::Health | Self::Backup | Self::Admin => Selector::None,
        }
    }

    const fn capabilities(self) -> Capabilities {
        DENY | match self {
            Self::Kv => READ | WRITE | LIST | DELETE,
            Self::Service => READ | WRITE | LIST | REGISTER | DEREGISTER,
            Self::Health => READ | WRITE,
            Self::Backup => CREATE | RESTORE | EXPORT | IMPORT | LIST | DELETE,
            Self::Admin => READ | WRITE | ADMIN,
            Self::Agent | Self::Event | Self::Query | Self::Session => READ | WRITE | LIST,
        }
    }
}

/// What is asked: a resource, and capabilities any of which will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    pub(crate) resource: Resource,
    pub(crate) any_of: Capabilities,
}

impl Need {
    /// Reads `resource:capability`; None if there is no such resource, or it has no such capability.
    ///
    /// What may be read may be listed. Who has `admin` over the node may read and write there.
    pub fn parse(text: &str) -> Option<Self> {
        let (resource, capability) = text.split_once(':')?;
        let resource = Resource::of(resource)?;
        let asked = capability_named(capability)?;
        if asked == DENY || resource.capabilities() & asked == 0 {
            return None;
        }
        let implied = match (resource, asked) {
            (Resource::Admin, _) => ADMIN,
            (_, LIST) => READ & resource.capabilities(),
            _ => 0,
        };
        Some(Self { resource, any_of: asked | implied })
    }

    pub(crate) fn is_of_names(&self) -> bool {
        self.resource.selector() == Selector::Name
    }

    /// The part of a stored key that rules name: of services the name, before the id.
    pub fn named<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        if !self.is_of_names() {
            return key;
        }
        key.split(|byte| *byte == b' ').next().unwrap_or(key)
    }
}

fn capability_named(name: &str) -> Option<Capabilities> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, bit)| *bit)
}

fn names_of(capabilities: Capabilities) -> Vec<&'static str> {
    NAMES.iter().filter(|(_, bit)| capabilities & bit != 0).map(|(name, _)| *name).collect()
}

/// A rule as it was written: resource, pattern, capabilities.
pub type RuleText = (String, String, Vec<String>);

/// One rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub policy: Arc<str>,
    pub resource: Resource,
    /// Its place among the policy's rules of its resource, from 0.
    pub at: usize,
    pub pattern: String,
    pub capabilities: Capabilities,
    pub glob: Glob,
    /// How an audit names it, made once.
    pub reason: String,
}

impl Rule {
    pub(crate) fn new(policy: &Arc<str>, at: usize, text: &RuleText) -> Result<Self, String> {
        let (resource_name, pattern, given) = text;
        let Some(resource) = Resource::of(resource_name) else {
            let known = RESOURCES.map(Resource::name).join(", ");
            return Err(format!("policy {policy}: unknown resource {resource_name:?}: expected {known}"));
        };
        let wrong = |why: String| format!("policy {policy}, {resource_name} rule {at}: {why}");
        let mut capabilities = 0;
        for name in given {
            match capability_named(name) {
                Some(bit) if resource.capabilities() & bit != 0 => capabilities |= bit,
                _ => {
                    let known = names_of(resource.capabilities()).join(", ");
                    return Err(wrong(format!("unknown capability {name:?}: expected {known}")));
                }
            }
        }
        if capabilities == 0 {
            return Err(wrong("capabilities are missing".into()));
        }
        let glob = match resource.selector() {
            Selector::None if pattern.is_empty() => Glob::everything(),
            Selector::None => return Err(wrong("these rules have no pattern".into())),
            selector => Glob::parse(pattern, selector == Selector::Path).map_err(wrong)?,
        };
        let what =
            if pattern.is_empty() { resource_name.clone() } else { format!("{resource_name} {pattern}") };
        let reason = format!("policy {policy} rule {at} ({what})");
        let (policy, pattern) = (policy.clone(), pattern.clone());
        Ok(Self { policy, resource, at, pattern, capabilities, glob, reason })
    }

    /// What it does when it matches: a rule that denies, denies everything it names.
    pub(crate) fn is_denying(&self) -> bool {
        self.capabilities & DENY != 0
    }

    pub(crate) fn capability_names(&self) -> Vec<&'static str> {
        names_of(self.capabilities)
    }
}
