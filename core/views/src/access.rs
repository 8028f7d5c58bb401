//! Who may do what: policies compiled, and what a set of them adds up to.
//!
//! A matching rule with `deny` refuses, whatever else matches; else one that grants what is asked allows;
//! else the default decides, which never covers the resource `admin`: who could write policies by default
//! could give himself the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::access_compiled::{Compiled, TOGETHER_MAX};
use crate::access_glob::Reach;
pub use crate::access_glob::{GLOB_BYTES_MAX, GLOB_STARS_MAX};
pub use crate::access_openings::Openings;
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
    compiled: Arc<Compiled>,
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
        (self.by_name.len(), self.by_name.values().map(|policy| policy.written.len()).sum())
    }

    /// What the policies of these names add up to, in the order of their names; unknown ones add nothing.
    ///
    /// Three and more are compiled together if they have no more than `together` rules: that costs memory of
    /// its own, and a decision is one search instead of one in each.
    pub fn granted(&self, names: &BTreeSet<String>, together: usize) -> Granted {
        let found = names.iter().filter_map(|name| self.by_name.get(name.as_str()));
        let mut parts: Vec<_> = found.map(|policy| policy.compiled.clone()).collect();
        let known = !parts.is_empty();
        let rules = parts.iter().map(|part| part.rules().len()).sum();
        let mut own_rules = 0;
        if parts.len() > 2 && rules <= together.min(TOGETHER_MAX) {
            own_rules = rules;
            let rules = parts.iter().flat_map(|part| part.rules().iter().cloned()).collect();
            parts = vec![Arc::new(Compiled::new(rules))];
        }
        Granted { default_allow: self.default_allow, known, own_rules, parts }
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
        Ok(Self { written, compiled: Arc::new(Compiled::new(rules)) })
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
    own_rules: usize,
    parts: Vec<Arc<Compiled>>,
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

    /// How many rules it holds compiled that nobody shares.
    pub fn own_rules(&self) -> usize {
        self.own_rules
    }

    /// True if it may be done to something that begins with `prefix`, as far as can be told without looking
    /// what there is.
    pub fn could(&self, need: Need, prefix: &[u8]) -> bool {
        let all_denied = |text: &[u8]| self.parts.iter().any(|part| part.denies_below(need, text));
        if all_denied(prefix) {
            return false;
        }
        let mut granting = self.parts.iter().flat_map(|part| part.granting(need));
        self.allows_by_default(need)
            || granting.any(|rule| {
                let own = rule.glob.prefix();
                rule.glob.reach(prefix) != Reach::Nothing && (own.len() <= prefix.len() || !all_denied(own))
            })
    }

    /// True if it may be done to everything there is or will be.
    pub fn allows_all(&self, need: Need) -> bool {
        !self.parts.iter().any(|part| part.denies_something(need))
            && (self.allows_by_default(need) || self.parts.iter().any(|part| part.grants_all(need)))
    }

    /// Where something may be seen, for a scan that meets much that is not.
    pub fn openings(&self, need: Need) -> Openings {
        let parts: Vec<&Compiled> = self.parts.iter().map(|part| &**part).collect();
        Openings::new(&parts, need, self.allows_by_default(need))
    }

    /// Every rule that matches, in the order they are asked in.
    pub fn explain(&self, need: Need, text: &[u8]) -> Vec<Explained> {
        let deciding = self.deciding(need, text);
        let rules = self.parts.iter().flat_map(|part| part.of_resource(need));
        let explained = |rule: &Rule| Explained {
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
            decides: deciding.is_some_and(|found| std::ptr::eq(found, rule)),
        };
        rules.filter(|rule| rule.glob.matches(text)).map(explained).collect()
    }

    fn allows_by_default(&self, need: Need) -> bool {
        self.default_allow && need.resource != Resource::Admin
    }

    /// The first rule that denies, else the first that allows.
    fn deciding(&self, need: Need, text: &[u8]) -> Option<&Rule> {
        let mut allowing = None;
        for part in &self.parts {
            match part.deciding(need, text) {
                Some(rule) if rule.is_denying() => return Some(rule),
                found => allowing = allowing.or(found),
            }
        }
        allowing.map(|rule| &**rule)
    }
}
