//! Which modules use which, and the circles in that. It knows nothing about source text.

use std::collections::{BTreeMap, BTreeSet};

/// One module uses an item of another.
#[derive(Clone, Debug)]
pub(super) struct Use {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) item: String,
    pub(super) file: String,
    pub(super) line: usize,
}

/// Modules that can all reach each other, and the uses between them.
pub(super) struct Cycle {
    pub(super) modules: BTreeSet<String>,
    pub(super) uses: Vec<Use>,
}

#[derive(Default)]
pub(super) struct Graph {
    /// The first use from one module to another.
    uses: BTreeMap<(String, String), Use>,
}

impl Graph {
    pub(super) fn add(&mut self, used: Use) {
        self.uses.entry((used.from.clone(), used.to.clone())).or_insert(used);
    }

    pub(super) fn cycles(&self) -> Vec<Cycle> {
        let modules: BTreeSet<&str> = self.uses.keys().flat_map(|(from, to)| [from.as_str(), to]).collect();
        let reach: BTreeMap<&str, BTreeSet<&str>> =
            modules.iter().map(|module| (*module, self.reachable(module))).collect();
        let mut cycles: Vec<Cycle> = Vec::new();
        for module in &modules {
            let known = cycles.iter().any(|cycle| cycle.modules.contains(*module));
            if known || !reach[module].contains(module) {
                continue;
            }
            let is_in = |other: &&str| reach[module].contains(other) && reach[*other].contains(module);
            let members: BTreeSet<String> =
                modules.iter().copied().filter(is_in).map(str::to_owned).collect();
            let inside = |used: &&Use| members.contains(&used.from) && members.contains(&used.to);
            let uses = self.uses.values().filter(inside).cloned().collect();
            cycles.push(Cycle { modules: members, uses });
        }
        cycles
    }

    /// What a module uses, directly or through others.
    fn reachable(&self, module: &str) -> BTreeSet<&str> {
        let (mut found, mut open) = (BTreeSet::new(), vec![module]);
        while let Some(from) = open.pop() {
            for (_, to) in self.uses.keys().filter(|(one, _)| one == from) {
                if found.insert(to.as_str()) {
                    open.push(to);
                }
            }
        }
        found
    }
}
