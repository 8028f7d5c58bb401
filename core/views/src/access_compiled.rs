//! Rules compiled, of one policy or of several in their order.

use std::sync::Arc;

use crate::access::RULES_MAX;
use crate::access_glob::Reach;
use crate::access_index::{Found, Index};
use crate::access_rules::{Capabilities, Need, RESOURCES, Resource, Rule};

/// The rules of one resource.
#[derive(Debug, Default)]
struct Part {
    /// Places in the list of all.
    places: Vec<u32>,
    index: Option<Index>,
    /// Only those that deny everything that begins in some way.
    shields: Option<Index>,
    /// What is granted over everything there is or will be.
    of_all: Capabilities,
    denies: bool,
}

#[derive(Debug)]
pub(crate) struct Compiled {
    rules: Vec<Arc<Rule>>,
    parts: [Part; RESOURCES.len()],
}

impl Compiled {
    pub(crate) fn new(rules: Vec<Arc<Rule>>) -> Self {
        let part = |resource: Resource| {
            let own = || (0..).zip(&rules).filter(|(_, rule)| rule.resource == resource);
            let shielding = |rule: &Rule| rule.is_denying() && rule.glob.ends_with_any();
            let index = |rules: &mut dyn Iterator<Item = (u32, &Arc<Rule>)>| {
                let mut rules = rules.map(|(place, rule)| (place, &**rule)).peekable();
                rules.peek().is_some().then(|| Index::new(rules))
            };
            let granting = own().filter(|(_, rule)| !rule.is_denying() && rule.glob.reach(b"") == Reach::All);
            Part {
                places: own().map(|(place, _)| place).collect(),
                index: index(&mut own()),
                shields: index(&mut own().filter(|(_, rule)| shielding(rule))),
                of_all: granting.fold(0, |all, (_, rule)| all | rule.capabilities),
                denies: own().any(|(_, rule)| rule.is_denying()),
            }
        };
        let parts = RESOURCES.map(part);
        Self { rules, parts }
    }

    pub(crate) fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    fn part(&self, need: Need) -> &Part {
        &self.parts[need.resource as usize]
    }

    /// The first rule that denies, and the first that allows if none does.
    pub(crate) fn deciding(&self, need: Need, text: &[u8]) -> Option<&Arc<Rule>> {
        let mut found = Found::new(need.any_of);
        self.part(need).index.as_ref()?.find(text, &mut found);
        let place = if found.deny == u32::MAX { found.allow } else { found.deny };
        self.rules.get(place as usize)
    }

    /// True if a rule denies everything that begins with `text`.
    pub(crate) fn denies_below(&self, need: Need, text: &[u8]) -> bool {
        // Such a rule ends with any characters: it matches the text itself.
        let mut found = Found::new(0);
        self.part(need).shields.iter().for_each(|shields| shields.find(text, &mut found));
        found.deny != u32::MAX
    }

    /// The rules that grant what is needed.
    pub(crate) fn granting(&self, need: Need) -> impl Iterator<Item = &Rule> {
        let grants = move |rule: &&Rule| !rule.is_denying() && rule.capabilities & need.any_of != 0;
        self.of_resource(need).filter(grants)
    }

    pub(crate) fn of_resource(&self, need: Need) -> impl Iterator<Item = &Rule> {
        self.part(need).places.iter().map(|place| &*self.rules[*place as usize])
    }

    pub(crate) fn denies_something(&self, need: Need) -> bool {
        self.part(need).denies
    }

    pub(crate) fn grants_all(&self, need: Need) -> bool {
        self.part(need).of_all & need.any_of != 0
    }
}

/// So many rules of several policies are compiled together; more are asked policy by policy.
pub(crate) const TOGETHER_MAX: usize = 4 * RULES_MAX;
