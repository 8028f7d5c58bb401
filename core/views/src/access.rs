//! Who may do what: policies compiled, and what a set of them adds up to.
//!
//! A matching rule with `deny` refuses, whatever else matches; else one that grants what is asked allows; else
//! the default decides, which never covers the resource `admin`: who could write policies by default could
//! give himself the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::access_glob::Reach;
pub use crate::access_glob::{GLOB_BYTES_MAX, GLOB_STARS_MAX};
pub use crate::access_rules::{Need, RuleText};
use crate::access_rules::{Resource, Rule};

/// The most policies.
pub const POLICIES_MAX: usize = 500;
/// The most rules of one policy.
pub const RULES_MAX: usize = 1_000;
/// The most policies of one caller.
pub const GRANTED_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 64;

const BY_DEFAULT: &str = "default policy";
const BY_NO_RULE: &str = "no rule allows it";

/// A policy as it was written: its name and its rules.
pub type PolicyText = (String, Vec<RuleText>);

/// One policy, understood.
#[derive(Debug)]
struct Policy {
    written: Vec<RuleText>,
    rules: Vec<Arc<Rule>>,
}

/// All policies there are.
#[derive(Debug, Default)]
pub struct Policies {
    by_name: BTreeMap<Box<str>, Arc<Policy>>,
    default_allow: bool,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It must not be done.
    Denied = 0,
    /// It may be done.
    Allowed = 1,
    /// The caller has no policy that exists, and the default does not allow.
    NoPolicy = 2,
}

/// One rule that matched, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The policy's name.
    pub policy: String,
    /// The resource's name.
    pub resource: &'static str,
    /// The rule's place among the policy's rules of this resource, from 0.
    pub rule: usize,
    /// Empty for resources without one.
    pub pattern: String,
    /// What it grants.
    pub capabilities: Vec<&'static str>,
    /// `deny`, `allow`, or `none` for a rule that grants other things.
    pub effect: &'static str,
    /// Whether the decision is this rule's.
    pub decides: bool,
}

impl Policies {
    /// Understands every policy or none. What `previous` has with the same rules is taken from there.
    ///
    /// # Errors
    /// In words for whoever wrote them: a name, resource, capability or pattern that cannot be, or too many.
    pub fn compile(given: Vec<PolicyText>, default_allow: bool, previous: &Self) -> Result<Self, String> {
        if given.len() > POLICIES_MAX {
            return Err(format!("too many policies: {} (max {POLICIES_MAX})", given.len()));
        }
        let mut by_name = BTreeMap::new();
        for (name, written) in given {
            let known = previous.by_name.get(name.as_str()).filter(|policy| policy.written == written);
            let policy = match known {
                Some(policy) => policy.clone(),
                None => Arc::new(Policy::new(&name, written)?),
            };
            if by_name.insert(Box::from(name.as_str()), policy).is_some() {
                return Err(format!("policy {name} is there twice"));
            }
        }
        Ok(Self { by_name, default_allow })
    }

    /// How many policies and how many rules there are.
    pub fn counts(&self) -> (usize, usize) {
        (self.by_name.len(), self.by_name.values().map(|policy| policy.rules.len()).sum())
    }

    /// What the policies of these names add up to, in the order of their names; unknown ones add nothing.
    pub fn granted(&self, names: &BTreeSet<String>) -> Granted {
        let found: Vec<_> = names.iter().filter_map(|name| self.by_name.get(name.as_str())).collect();
        let rules = found.iter().flat_map(|policy| policy.rules.iter().cloned()).collect();
        Granted { default_allow: self.default_allow, known: !found.is_empty(), rules }
    }
}

impl Policy {
    fn new(name: &str, written: Vec<RuleText>) -> Result<Self, String> {
        check_name(name)?;
        if written.len() > RULES_MAX {
            return Err(format!("policy {name}: too many rules: {} (max {RULES_MAX})", written.len()));
        }
        let shared: Arc<str> = name.into();
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        let mut rules = Vec::with_capacity(written.len());
        for text in &written {
            let place = places.entry(text.0.as_str()).or_default();
            rules.push(Arc::new(Rule::new(&shared, *place, text)?));
            *place += 1;
        }
        Ok(Self { written, rules })
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_plain) {
        return Ok(());
    }
    Err(format!("policy name {name:?}: expected 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 _ -"))
}

/// What a set of policies adds up to.
#[derive(Debug)]
pub struct Granted {
    default_allow: bool,
    /// Whether any of the policies exists.
    known: bool,
    rules: Vec<Arc<Rule>>,
}

impl Granted {
    /// Whether it may be done, and what decided that.
    pub fn decide(&self, need: Need, text: &[u8]) -> (Outcome, &str) {
        match self.deciding(need, text) {
            Some(rule) if rule.is_denying() => (Outcome::Denied, &rule.reason),
            Some(rule) => (Outcome::Allowed, &rule.reason),
            None if self.allows_by_default(need) => (Outcome::Allowed, BY_DEFAULT),
            None if self.known => (Outcome::Denied, BY_NO_RULE),
            None => (Outcome::NoPolicy, BY_NO_RULE),
        }
    }

    /// True if it may be done.
    pub fn allows(&self, need: Need, text: &[u8]) -> bool {
        self.decide(need, text).0 == Outcome::Allowed
    }

    /// True if it may be done to something that begins with `prefix`, as far as can be told without looking
    /// what there is.
    pub fn could(&self, need: Need, prefix: &[u8]) -> bool {
        let rules = || self.rules.iter().filter(|rule| rule.resource == need.resource);
        let all_denied = |text: &[u8]| {
            rules().any(|rule| rule.is_denying() && rule.glob.reach(text) == Reach::All)
        };
        if self.allows_by_default(need) {
            return !all_denied(prefix);
        }
        rules().any(|rule| {
            let longer = if rule.glob.prefix().len() > prefix.len() { rule.glob.prefix() } else { prefix };
            !rule.is_denying()
                && rule.capabilities & need.any_of != 0
                && rule.glob.reach(prefix) != Reach::Nothing
                && !all_denied(longer)
        })
    }

    /// True if it may be done to everything there is or will be.
    pub fn allows_all(&self, need: Need) -> bool {
        let mut rules = self.rules.iter().filter(|rule| rule.resource == need.resource);
        let all = |rule: &Rule| rule.capabilities & need.any_of != 0 && rule.glob.reach(b"") == Reach::All;
        !rules.clone().any(|rule| rule.is_denying())
            && (self.allows_by_default(need) || rules.any(|rule| all(rule)))
    }

    /// Every rule that matches, in the order they are asked in.
    pub fn explain(&self, need: Need, text: &[u8]) -> Vec<Explained> {
        let deciding = self.deciding(need, text);
        let matching = self.rules.iter().filter(|rule| rule.resource == need.resource && rule.glob.matches(text));
        matching
            .map(|rule| Explained {
                policy: rule.policy.to_string(),
                resource: rule.resource.name(),
                rule: rule.at,
                pattern: rule.pattern.clone(),
                capabilities: rule.capability_names(),
                effect: match () {
                    () if rule.is_denying() => "deny",
                    () if rule.capabilities & need.any_of != 0 => "allow",
                    () => "none",
                },
                decides: deciding.is_some_and(|found| std::ptr::eq(found, &**rule)),
            })
            .collect()
    }

    fn allows_by_default(&self, need: Need) -> bool {
        self.default_allow && need.resource != Resource::Admin
    }

    /// The first rule that denies, else the first that allows.
    fn deciding(&self, need: Need, text: &[u8]) -> Option<&Rule> {
        let mut allowing = None;
        for rule in &self.rules {
            let concerns = rule.is_denying() || allowing.is_none() && rule.capabilities & need.any_of != 0;
            if rule.resource == need.resource && concerns && rule.glob.matches(text) {
                if rule.is_denying() {
                    return Some(rule);
                }
                allowing = Some(&**rule);
            }
        }
        allowing
    }
}
