//! The keys of `[gate]`.

use runner_model::{Gate, GateRule, GateScope};

use crate::globs;
use crate::reading::{Integer, Named, Number, Table, TableForm};

pub(crate) const GATE: TableForm<Gate> = TableForm("`[gate]`", gate);
const RULE: TableForm<GateRule> = TableForm("a rule of `[gate]`", |table| Some(rule(table)));
const TAGS: Named<TableForm<GateRule>> = Named {
    form: RULE,
    words: "a table",
    refuse: |tag| tag.is_empty().then(|| "it is empty".to_owned()),
    pattern: "",
    count: (0, 100),
};
const PROVIDERS: Named<TableForm<GateRule>> = Named {
    form: RULE,
    words: "a table",
    refuse: |glob| globs::over_ids(&[glob]).err(),
    pattern: "",
    count: (0, 100),
};

fn gate(table: &mut Table<'_, '_>) -> Option<Gate> {
    let mut rules = vec![rule(table)];
    let tags = table.optional("tags", &TAGS).unwrap_or_default();
    let providers = table.optional("providers", &PROVIDERS).unwrap_or_default();
    let scoped = |scope: fn(String) -> GateScope| {
        move |(name, rule): (String, GateRule)| GateRule { scope: scope(name), ..rule }
    };
    rules.extend(tags.into_iter().map(scoped(GateScope::Tag)));
    rules.extend(providers.into_iter().map(scoped(GateScope::Provider)));
    rules.retain(|rule| *rule != GateRule { scope: rule.scope.clone(), ..GateRule::default() });
    Some(Gate(rules))
}

fn rule(table: &mut Table<'_, '_>) -> GateRule {
    GateRule {
        scope: GateScope::All,
        pass_rate: table.optional("pass_rate", &Number(0.0, 1.0)),
        min_score: table.optional("min_score", &Number(f64::MIN, f64::MAX)),
        max_errors: table.optional("max_errors", &Integer(0, u32::MAX)).map(u64::from),
    }
}
