//! Grants of providers: given, requested and denied, as lines to paste into a scenario.

use std::collections::{BTreeSet, HashSet};

use runner_engine::Preview;
use runner_model::{
    Grants, ScenarioOverrides,
    units::{plural, show_size},
    visible::visible_line,
};
use runner_record::ManifestProvider;
use runner_report::{Denials, MissingGrants, table_with};
use runner_scenario::GrantsToml;

use super::style;

/// Formats the number of providers, without graders and tools.
pub fn counted(providers: &[ManifestProvider]) -> String {
    let count = providers.iter().filter(|provider| provider.is_tested()).count() as u64;
    plural(count, "provider", "providers")
}

/// Formats the grants of a run's providers and graders as TOML tables. Those without grants are left out.
pub fn tables(providers: &[ManifestProvider]) -> Vec<String> {
    providers.iter().flat_map(|provider| table(provider, &provider.grants)).collect()
}

fn table(provider: &ManifestProvider, grants: &Grants) -> Vec<String> {
    let lines = GrantsToml::from(grants).table(provider.table(), &provider.name);
    lines.iter().map(|line| visible_line(line).into_owned()).collect()
}

/// Formats the head of a dry run: its size, and each provider with its grants and the requests beyond them.
pub fn preview(preview: &Preview) -> Vec<String> {
    let mut lines = vec![format!(
        "{}: {} on {}, {} at a time",
        visible_line(&preview.scenario),
        plural(preview.trials, "trial", "trials"),
        counted(&preview.providers),
        preview.jobs,
    )];
    if preview.overrides != ScenarioOverrides::default() {
        lines.push(format!("in place of the scenario's values: {}", preview.overrides));
    }
    for provider in &preview.providers {
        lines.extend(preview_provider(provider, &preview.missing_secrets));
        if provider.is_tool {
            let callers = preview.providers.iter();
            let callers = callers.filter(|one| one.grants.tools.contains(&provider.name));
            let callers: Vec<_> = callers.map(|one| visible_line(&one.name)).collect();
            lines.push(format!("  called by: {}", callers.join(", ")));
        }
    }
    lines.extend(preview.access.iter().map(|line| visible_line(line).into_owned()));
    lines
}

fn preview_provider(provider: &ManifestProvider, missing: &BTreeSet<String>) -> Vec<String> {
    let limits = &provider.limits;
    let scratch = match limits.scratch {
        0 => String::new(),
        scratch => format!(", scratch {}", show_size(scratch)),
    };
    let role = if provider.is_tested() { String::new() } else { provider.role().to_owned() + " " };
    let mut lines = vec![format!(
        "{role}{}: {} `{}`, memory {}{scratch}",
        style::bold(&visible_line(&provider.name)),
        provider.kind,
        visible_line(&provider.plugin),
        show_size(limits.memory),
    )];
    let table = table(provider, &provider.grants);
    if table.is_empty() {
        lines.push("  grants: none".to_owned());
    }
    lines.extend(table.iter().map(|line| format!("  {line}")));
    for name in missing.intersection(&provider.grants.secret_names()) {
        lines.push(format!("  secret {name} {}", style::yellow("(no value)")));
    }
    if let Some(missing) = MissingGrants::of(provider) {
        lines.push(format!("  requests, not granted: {}", requests(&missing)));
        if !missing.table.is_empty() {
            lines.push("  to grant them, add to the scenario:".to_owned());
            lines.extend(missing.table.iter().map(|line| format!("    {}", visible_line(line))));
        }
    }
    lines
}

/// Returns warnings of providers whose plugins request more than they are granted: one for all with the same requests, as those of
/// a matrix have.
pub fn warnings(providers: &[ManifestProvider]) -> Vec<String> {
    let mut groups: Vec<(MissingGrants, usize)> = Vec::new();
    for missing in providers.iter().filter_map(MissingGrants::of) {
        match groups.iter_mut().find(|(group, _)| {
            let role = |of: &MissingGrants| (of.is_grader, of.is_tool);
            role(group) == role(&missing) && group.requests == missing.requests
        }) {
            Some((_, count)) => *count += 1,
            None => groups.push((missing, 1)),
        }
    }
    let lines = groups.into_iter().map(|(missing, count)| {
        let role = match (missing.is_grader, missing.is_tool) {
            (true, _) => "grader",
            (_, true) => "tool",
            (false, false) => "provider",
        };
        let who = match count {
            1 => format!("{role} `{}` requests", missing.name),
            _ => format!("{count} {role}s, such as `{}`, request", missing.name),
        };
        format!(
            "{who} access that is not granted: {}; `runner exec --dry-run` lists the grants to add",
            requests(&missing)
        )
    });
    lines.collect()
}

fn requests(missing: &MissingGrants) -> String {
    visible_line(&missing.requests.join(", ")).into_owned()
}

/// Formats denied access, and for each provider and grader a table with its grants and this access. Empty without denials.
pub fn denials(denials: &Denials, providers: &[ManifestProvider]) -> String {
    if denials.is_empty() {
        return String::new();
    }
    let mut lines = vec![style::bold("denied:")];
    let mut tables = HashSet::new();
    for (name, denials) in denials.by_name() {
        let shown = &denials[..denials.len().min(Denials::MAX_SHOWN)];
        let shown_name = visible_line(name);
        for denial in shown {
            let times = match denial.count {
                1 => String::new(),
                count => format!(", in {count} attempts"),
            };
            lines.push(format!("  {shown_name}: {}{times}", visible_line(&denial.what)));
        }
        if denials.len() > shown.len() {
            lines.push(format!("  {shown_name}: … and more"));
        }
        let known = providers.iter().find(|known| known.name == name);
        let none = Grants::default();
        let (table, granted) =
            known.map_or(("providers", &none), |known| (known.table(), &known.grants));
        let table = table_with(table, name, granted, shown);
        // Providers of a matrix get their grants by one table.
        if !table.is_empty() && tables.insert(table.clone()) {
            lines.push("    to allow it, add to the scenario:".to_owned());
            lines.extend(table.iter().map(|line| format!("      {}", visible_line(line))));
        }
    }
    lines.join("\n")
}
