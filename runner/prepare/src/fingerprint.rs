//! Fingerprints: hashes of everything that decides the result of a trial.

use std::collections::BTreeMap;

use runner_model::provider::{COST, Deterministic, PluginKind, PreparedProvider, Provider};
use runner_model::{Digest, Fingerprint, Limits, MIN_STACK, Micros};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// Prefix of the hashed bytes. A change of the recipe needs a new number.
const EXECUTION: &[u8] = b"runner-execution-3\0";
const JUDGEMENT: &[u8] = b"runner-judgement-3\0";

/// The providers' part of fingerprints.
#[derive(Default)]
pub struct Fingerprints {
    /// For each provider the state of a hash, to which the test's part is added.
    providers: Vec<Sha256>,
    /// The index of graders, and their settings that decide verdicts, by name.
    graders: BTreeMap<String, (u16, Sha256)>,
    /// For each provider the indexes of the tools that it may call.
    tools: Vec<Vec<usize>>,
}

/// The parts of a test that decide results. Input and tags are the JSON of the suite, which is canonical: compact, with sorted
/// keys.
#[derive(Clone, Copy, Debug)]
pub struct TestParts<'a> {
    pub id: &'a str,
    pub input: &'a str,
    pub tags: &'a str,
    /// Names and digests of attachments, as JSON.
    pub files: &'a str,
    /// Base of the workspace. `None` without one.
    pub base: Option<Digest>,
    /// Timeouts of an attempt and of a trial.
    pub timeouts: [Option<Micros>; 2],
}

impl Fingerprints {
    pub fn new(providers: &[PreparedProvider], seed: u32) -> Self {
        let mut new = Self::default();
        for (index, prepared) in (0..).zip(providers) {
            new.providers.push(Sha256::new());
            let all = providers.iter().map(|prepared| &prepared.provider);
            new.tools.push(prepared.provider.tools(all).collect());
            new.set(index, prepared, seed);
        }
        new
    }

    /// Sets the part of a provider. Call it again once the content of its folders is known.
    pub fn set(&mut self, provider: u16, prepared: &PreparedProvider, seed: u32) {
        let mut state = Sha256::new_with_prefix(EXECUTION);
        add(&mut state, &recipe(prepared, seed).to_string());
        if let Some(grading) = &prepared.provider.grading {
            let mut state = state.clone();
            add(&mut state, &json!([grading.min_score, grading.weight]).to_string());
            if let Some(max) = grading.max_score {
                add(&mut state, &json!({ "max_score": max }).to_string());
            }
            self.graders.insert(prepared.provider.name.to_string(), (provider, state));
        }
        self.providers[usize::from(provider)] = state;
    }

    /// Adds the tools of a provider to a state of it.
    fn with_tools(&self, provider: u16, mut state: Sha256) -> Sha256 {
        for tool in &self.tools[usize::from(provider)] {
            state.update(self.providers[*tool].clone().finalize());
        }
        state
    }

    /// Returns the fingerprint of the settings that decide the answers of a grader, or the outputs of a provider.
    pub fn provider(&self, provider: u16) -> Fingerprint {
        finish(self.with_tools(provider, self.providers[usize::from(provider)].clone()))
    }

    /// Returns an empty provider's part with the index 0, to compare tests regardless of providers.
    pub fn without_provider() -> Self {
        let providers = vec![Sha256::new_with_prefix(EXECUTION)];
        Self { providers, tools: vec![Vec::new()], ..Self::default() }
    }

    /// Returns the fingerprint of everything that decides the output of a test on a provider.
    pub fn execution(&self, provider: u16, test: &TestParts<'_>) -> Fingerprint {
        let mut state = self.with_tools(provider, self.providers[usize::from(provider)].clone());
        for part in [test.id, test.input, test.tags] {
            add(&mut state, part);
        }
        if !test.files.is_empty() {
            add(&mut state, test.files);
        }
        if let Some(base) = test.base {
            add(&mut state, &base.to_string());
        }
        for timeout in test.timeouts {
            // No real timeout has this value.
            let timeout = timeout.unwrap_or(Micros(u64::MAX));
            state.update(timeout.0.to_le_bytes());
        }
        finish(state)
    }

    /// Returns the fingerprint of everything that decides the verdict on an output: `expect` of the test as JSON and, if it names
    /// graders, their settings, the test's `reference` as JSON, and the digests of their files as JSON.
    pub fn judgement(
        &self,
        expect: &str,
        graders: &[String],
        reference: &str,
        files: &str,
    ) -> Fingerprint {
        let mut state = Sha256::new_with_prefix(JUDGEMENT);
        add(&mut state, expect);
        if !graders.is_empty() {
            add(&mut state, reference);
        }
        for grader in graders.iter().filter_map(|name| self.graders.get(name)) {
            let (index, grader) = grader;
            state.update(self.with_tools(*index, grader.clone()).finalize());
        }
        if !files.is_empty() {
            add(&mut state, files);
        }
        finish(state)
    }
}

/// Adds a part with its length, so that different lists of parts never have the same bytes.
fn add(state: &mut Sha256, part: &str) {
    state.update((part.len() as u64).to_le_bytes());
    state.update(part);
}

fn finish(state: Sha256) -> Fingerprint {
    Digest(state.finalize().into()).fingerprint()
}

/// Returns the settings of a provider that decide results: not its name, path or concurrency.
fn recipe(prepared: &PreparedProvider, seed: u32) -> Value {
    // A new key does not compile until it is here.
    let Provider {
        config,
        args,
        stdin,
        output,
        protocol,
        records,
        files,
        reuse,
        grants,
        limits,
        name: _,
        plugin: _,
        sha256: _,
        concurrency: _,
        rate: _,
        budget: _,
        prices,
        deterministic,
        workspace,
        grading,
        tool,
    } = &prepared.provider;
    let call = match prepared.kind {
        PluginKind::Component => Value::Null,
        PluginKind::Command => json!({
            "args": args,
            "stdin": stdin,
            "output": output.as_str(),
            "protocol": protocol.as_str(),
        }),
    };
    let mut recipe = json!({
        "plugin": prepared.digest.to_string(),
        "config": config,
        "call": call,
        "limits": deciding_limits(limits, prices, workspace.is_some(), !grants.tools.is_empty()),
        "seed": seed,
    });
    if !files.is_empty() {
        recipe["files"] = files.iter().map(|file| json!(file.attachment())).collect();
    }
    if let Some(records) = records {
        recipe["records"] = json!(records);
    }
    if let Some(reuse) = reuse {
        recipe["reuse"] = reuse.as_str().into();
    }
    if let Some(input) = grading.as_ref().and_then(|grading| grading.input.as_ref()) {
        recipe["input"] = input.clone();
    }
    if let Some(workspace) = grading.as_ref().and_then(|grading| grading.workspace.as_ref()) {
        // Its files are in the fingerprints of tests.
        recipe["workspace"] =
            json!([workspace.access, workspace.hidden.keys().collect::<Vec<_>>()]);
    }
    if let Some(tool) = tool {
        recipe["tool"] = json!(tool);
    }
    if let Some(deterministic) = deterministic {
        // A journal changes no result.
        recipe["deterministic"] = json!(Deterministic { journal: None, ..*deterministic });
    }
    if let Some(workspace) = workspace {
        recipe["workspace"] = json!(workspace.mount);
    }
    if !grants.is_empty() {
        recipe["grants"] = json!(grants);
    }
    let contents = prepared.mounts.iter().map(|folder| folder.content.as_ref());
    let contents: Vec<_> = contents.map(|content| content.map(|one| one.sha256)).collect();
    if contents.iter().any(Option::is_some) {
        recipe["folders"] = json!(contents);
    }
    recipe
}

fn deciding_limits(
    limits: &Limits,
    prices: &BTreeMap<String, f64>,
    has_workspace: bool,
    has_tools: bool,
) -> Value {
    // Fingerprints from before these limits stay valid.
    let is_unused = |key| match key {
        "stack" => limits.stack == MIN_STACK,
        "workspace" => !has_workspace,
        "tool_calls" => !has_tools,
        "transcript" => limits.transcript == Limits::default().transcript,
        _ => false,
    };
    let deciding =
        Limits::TABLE.iter().filter(|limit| limit.decides_results && !is_unused(limit.key));
    let mut table: Map<_, _> =
        deciding.map(|limit| (limit.key.to_owned(), (limit.get)(limits).into())).collect();
    if let Some(time) = limits.time {
        table.insert("time".to_owned(), time.0.into());
    }
    if let Some(tokens) = limits.total_tokens {
        table.insert("total_tokens".to_owned(), tokens.into());
    }
    if let Some(cost) = limits.cost_usd {
        // By the prices, the limit is used up earlier or later.
        table.insert(COST.to_owned(), json!([cost.0, prices]));
    }
    Value::Object(table)
}

#[cfg(test)]
#[path = "tests/fingerprint.rs"]
mod tests;
