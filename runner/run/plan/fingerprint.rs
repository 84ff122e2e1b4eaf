//! Fingerprints and the plan's digest: what decides results, as hashes.
//!
//! All of it is encoded by [`canonical`] from values that are put together here, key by key.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::{
    canonical,
    planned::{PlannedGrader, PlannedProvider},
};
use crate::{
    model::{Digest, Fingerprint, FsGrant, Grants, Limits},
    plugin::Kind,
    scenario::{Reuse, RunOptions, Stdin, Template, TemplatePiece, Test},
};

/// Begins the preimage of every execution's fingerprint; another number, another recipe.
const EXECUTION: &[u8] = b"runner-execution-2\0";
/// Begins the preimage of every plan's digest. The first recipe is in [`first_recipe`](super::first_recipe).
const PLAN: &[u8] = b"runner-plan-2\0";

/// Begins the preimage of every judgement's fingerprint that graders are part of.
const GRADED: &[u8] = b"runner-graded-1\0";

/// Begins the preimage of every question's digest.
const QUESTION: &[u8] = b"runner-question-1\0";

/// The providers' and the graders' part of a run's fingerprints.
pub(in crate::run) struct Fingerprints {
    providers: Vec<Option<Digest>>,
    /// By name.
    graders: BTreeMap<String, Digest>,
}

impl Fingerprints {
    pub(in crate::run) fn new(
        providers: &[Option<PlannedProvider>],
        graders: &[Option<PlannedGrader>],
        options: &RunOptions,
    ) -> Self {
        let of = |value: &Value| Digest::of(&canonical::encode(value));
        let providers = providers.iter().map(|provider| {
            let provider = provider.as_ref()?;
            Some(of(&deciding(provider, options)))
        });
        let graders = graders.iter().flatten().map(|grader| {
            let name = grader.definition.name().to_owned();
            (name, of(&grading(grader, options)))
        });
        Self {
            providers: providers.collect(),
            graders: graders.collect(),
        }
    }

    /// The fingerprint of a test's trials on a provider.
    pub(in crate::run) fn of(&self, provider: usize, test: &Test) -> Fingerprint {
        let provider = self.providers[provider].expect("a trial's provider is planned");
        let hasher = Sha256::new()
            .chain_update(EXECUTION)
            .chain_update(test.execution.as_bytes())
            .chain_update(provider.as_bytes());
        Fingerprint {
            execution: Digest::finish(hasher),
            judgement: self.judgement(test),
        }
    }

    /// The digest of everything that decides what a test's trials mean.
    pub(in crate::run) fn judgement(&self, test: &Test) -> Digest {
        let named = test.expect.graders();
        if named.is_empty() {
            return test.judgement;
        }
        let mut hasher = Sha256::new()
            .chain_update(GRADED)
            .chain_update(test.judgement.as_bytes());
        for grader in named.iter().filter_map(|name| self.graders.get(name)) {
            hasher.update(grader.as_bytes());
        }
        Digest::finish(hasher)
    }
}

/// The digest of everything of a grader that decides what it answers, but for what it is asked.
pub(in crate::run) fn of_grader(grader: &PlannedGrader, options: &RunOptions) -> Digest {
    Digest::of(&canonical::encode(&deciding(&grader.plugin, options)))
}

/// The digest of a question to a grader, of which `grader` is the digest: of the same ones the answer to one is that to all.
pub(in crate::run) fn of_question(grader: Digest, input: &Value) -> Digest {
    let hasher = Sha256::new()
        .chain_update(QUESTION)
        .chain_update(grader.as_bytes())
        .chain_update(canonical::encode(input));
    Digest::finish(hasher)
}

/// The digest of a plan: its normalised tests, and its providers that have trials, by name.
pub(super) fn of_plan<'a>(
    suite: Digest,
    providers: impl Iterator<Item = &'a PlannedProvider>,
    graders: impl Iterator<Item = &'a PlannedGrader>,
    options: &RunOptions,
) -> Digest {
    let providers = providers.map(|provider| {
        let name = provider.definition.id.to_string();
        (name, deciding(provider, options))
    });
    let graders: Map<_, _> = graders
        .map(|grader| {
            (
                grader.definition.name().to_owned(),
                grading(grader, options),
            )
        })
        .collect();
    let mut plan = Map::from_iter(entries([
        ("suite", suite.to_string().into()),
        ("providers", Value::Object(providers.collect())),
    ]));
    // A plan without graders has the digest that it had before there were any.
    if !graders.is_empty() {
        plan.insert("graders".to_owned(), Value::Object(graders));
    }
    let plan = Value::Object(plan);
    let hasher = Sha256::new()
        .chain_update(PLAN)
        .chain_update(canonical::encode(&plan));
    Digest::finish(hasher)
}

/// Everything of a provider that decides results: no concurrency, no path of the host, no time.
fn deciding(provider: &PlannedProvider, options: &RunOptions) -> Value {
    let definition = &provider.definition;
    let mut deciding = Map::from_iter(entries([
        ("plugin", provider.file.sha256.to_string().into()),
        ("kind", provider.file.kind.as_str().into()),
        ("config", definition.config.clone()),
        ("invocation", invocation(provider)),
        ("reuse", definition.reuse.map(Reuse::as_str).into()),
        ("limits", limits(&provider.limits)),
        ("grants", grants(&definition.grants)),
    ]));
    let options = options.deciding();
    deciding.extend(options.map(|(key, value)| (key.to_owned(), value)));
    Value::Object(deciding)
}

/// Everything of a grader that decides what it says of an output.
fn grading(grader: &PlannedGrader, options: &RunOptions) -> Value {
    let definition = &grader.definition;
    table([
        ("plugin", deciding(&grader.plugin, options)),
        ("input", definition.written_input().cloned().into()),
        ("min_score", definition.min_score.into()),
    ])
}

/// How a command is called; components are called in one way.
fn invocation(provider: &PlannedProvider) -> Value {
    let Kind::Command(_) = provider.file.kind else {
        return Value::Null;
    };
    let definition = &provider.definition;
    let protocol = definition.protocol.map(|protocol| protocol.as_str());
    let stdin = definition.stdin.as_ref().map(|stdin| match stdin {
        Stdin::Text(text) => table([("text", template(text))]),
        Stdin::File(name) => table([("file", name.as_str().into())]),
    });
    table([
        ("protocol", protocol.into()),
        ("args", definition.args.iter().map(template).collect()),
        ("stdin", stdin.unwrap_or_default()),
        ("output", definition.output.as_str().into()),
    ])
}

/// A text is a text, and what stands for a value is the list of its keys.
fn template(template: &Template) -> Value {
    let pieces = template.pieces().iter().map(|piece| match piece {
        TemplatePiece::Text(text) => Value::from(text.as_str()),
        TemplatePiece::Path(keys) => keys.as_slice().into(),
    });
    pieces.collect()
}

/// The limits by their keys, but for those that decide no result.
fn limits(limits: &Limits) -> Value {
    let deciding = Limits::TABLE.iter().filter(|limit| limit.decides_results);
    let deciding = deciding.map(|limit| (limit.key.to_owned(), limit.get(limits).into()));
    Value::Object(deciding.collect())
}

/// The grants as the scenario writes them: names of secrets and no values.
fn grants(grants: &Grants) -> Value {
    let Grants {
        net,
        secrets,
        bound_secrets,
        fs,
        env,
    } = grants;
    let bound = bound_secrets.iter().map(|bound| {
        table([
            ("name", bound.name.as_str().into()),
            ("host", bound.host.to_string().into()),
            ("header", bound.header.as_str().into()),
        ])
    });
    let folder = |FsGrant { path, mount, mode }: &FsGrant| {
        table([
            ("path", path.as_str().into()),
            ("mount", mount.as_str().into()),
            ("mode", mode.as_str().into()),
        ])
    };
    let env = env.iter().map(|(name, value)| {
        let value = Value::from(value.as_str());
        (name.clone(), value)
    });
    table([
        ("net", net.iter().map(ToString::to_string).collect()),
        ("secrets", secrets.as_slice().into()),
        ("bound_secrets", bound.collect()),
        ("fs", fs.iter().map(folder).collect()),
        ("env", Value::Object(env.collect())),
    ])
}

fn table<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Object(Map::from_iter(entries(pairs)))
}

fn entries<const N: usize>(pairs: [(&str, Value); N]) -> [(String, Value); N] {
    pairs.map(|(key, value)| (key.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use super::{Fingerprints, PlannedGrader, PlannedProvider, canonical, deciding, of_plan};
    use crate::run::plan::first_recipe;
    use crate::{
        model::Digest,
        plugin::{ContractVersion, Kind, PluginFile},
        scenario::{self, Provider, RunOptions, Selection, Suite},
    };

    const SEED: u32 = 42;

    /// The scenario that has every key once, with a component and a command in the place of its plugins.
    fn every_key(
        has_meta: bool,
    ) -> (
        Suite,
        Vec<Option<PlannedProvider>>,
        Vec<Option<PlannedGrader>>,
        RunOptions,
    ) {
        let path = Path::new("tests/scenarios/valid/tour.toml");
        let text = fs_err::read_to_string(path).unwrap();
        let lines = text.lines();
        let lines = lines.filter(|line| has_meta || !line.starts_with("meta = "));
        let text = lines.collect::<Vec<_>>().join("\n");
        let scenario = scenario::parse(path, &text).unwrap();
        assert_eq!(scenario.options().seed, Some(SEED));
        let suite = scenario::normalise(&scenario, &Selection::default()).unwrap();
        let plugin = |definition: &Provider| {
            if definition.id.as_str().starts_with("many-") {
                return None;
            }
            let module = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;
            let bytes = wat::parse_str(module).unwrap();
            let mut file = PluginFile::from_bytes(&definition.plugin, bytes).unwrap();
            // What turns texts into modules may change; what this test holds may not.
            file.sha256 = Digest::of(definition.id.as_str().as_bytes());
            if !["command", "program"].contains(&definition.id.as_str()) {
                let contract = ContractVersion::HOST;
                file.kind = Kind::Component { contract };
            }
            Some(PlannedProvider {
                limits: definition.limits,
                file,
                mounts: Vec::new(),
                secrets: Arc::default(),
                definition: definition.clone(),
            })
        };
        let providers = scenario.providers().iter().map(plugin).collect();
        let graders = scenario.graders().iter().map(|definition| {
            Some(PlannedGrader {
                plugin: plugin(&definition.provider)?,
                definition: definition.clone(),
            })
        });
        let graders = graders.collect();
        (suite, providers, graders, scenario.options().clone())
    }

    /// What is stored with runs is compared with what later versions make: these bytes never change. A recipe that must
    /// change gets another number, and the old one stays for the runs that were begun by it.
    #[test]
    fn what_decides_results_has_the_bytes_that_runs_were_stored_with() {
        // Tests could say nothing of themselves then.
        let (suite, providers, graders, options) = every_key(false);
        let planned = || providers.iter().flatten();
        for provider in planned() {
            let bytes = canonical::encode(&deciding(provider, &options));
            let text = String::from_utf8(bytes).unwrap();
            let name = provider.definition.id.as_str();
            insta::allow_duplicates! {
                match name {
                    "echo" => insta::assert_snapshot!(text, @"ms6:configms6:suffixs1:!es6:grantsms13:bound_secretslms6:headers13:authorizations4:hosts23:https://api.example.coms4:names9:OTHER_KEYees3:envms4:LANGs7:C.UTF-8s5:TOKENs16:{{secret.TOKEN}}es2:fslms4:modes2:ros5:mounts5:/datas4:paths4:dataees3:netls23:https://api.example.coms21:https://*.example.coms21:http://127.0.0.1:8080es7:secretsls7:API_KEYees10:invocationns4:kinds9:components6:limitsms14:artifact_filesi100;s9:artifactsi67108864;s13:http_requestsi100;s13:http_responsei10485760;s5:inputi4194304;s3:logi1048576;s11:log_recordsi10000;s6:memoryi67108864;s5:replyi4194304;s7:scratchi0;s5:stdioi65536;s14:table_elementsi100000;es6:plugins64:092c79e8f80e559e404bcf660c48f3522b67aba9ff1484b0367e1a4ddef7431ds5:reuses8:instances4:seedi42;e"),
                    "command" => insta::assert_snapshot!(text, @"ms6:configmes6:grantsms13:bound_secretsles3:envmes2:fsles3:netles7:secretslees10:invocationms4:argslls2:-cells5:inputs4:codeeees6:outputs7:trimmeds8:protocols5:plains5:stdinms4:files9:table.csvees4:kinds7:commands6:limitsms14:artifact_filesi100;s9:artifactsi67108864;s13:http_requestsi100;s13:http_responsei10485760;s5:inputi4194304;s3:logi1048576;s11:log_recordsi10000;s6:memoryi268435456;s5:replyi4194304;s7:scratchi0;s5:stdioi65536;s14:table_elementsi1000000;es6:plugins64:5d347fd948b66308f502c3f65c8f7e12ff1c5cf8c760bcdfb188ae1ec7b8b618s5:reusens4:seedi42;e"),
                    other => assert_eq!(other, "source"),
                }
            }
        }
        insta::assert_snapshot!(suite.digest(), @"ccc7dfe96f6ab1e584730945ad943ba23df5c37de02c3a3043ea9dac29f1f721");
        insta::assert_snapshot!(of_plan(suite.digest(), planned(), graders.iter().flatten(), &options), @"ec5cfbb63bef7a7d900208d31dce4970159917692374a1efce99116131ec7660");
        insta::assert_snapshot!(first_recipe::of_plan(suite.digest(), planned(), SEED), @"5a566e395387d4bdcee03dff8835874609fff085d33a2d1639e9c96741fb9534");

        let fingerprints = Fingerprints::new(&providers, &graders, &options);
        let mut reader = suite.reader();
        let (said, ..) = every_key(true);
        let mut said = said.reader();
        let mut lines = Vec::new();
        for index in 0..suite.test_count() {
            let test = reader.test(index).unwrap();
            for provider in test.providers.iter() {
                let of = fingerprints.of(provider, &test);
                // What a test says of itself decides nothing.
                assert_eq!(fingerprints.of(provider, &said.test(index).unwrap()), of);
                let name = &providers[provider].as_ref().unwrap().definition.id;
                lines.push(format!(
                    "{}@{name} {} {}",
                    test.id, of.execution, of.judgement
                ));
            }
        }
        insta::assert_snapshot!(lines.join("\n"), @r#"
greeting@echo dcb37c9d9482ac04eed65d0f21dc559bd7ceff916dfc520fbd9edd986b90db79 6ccfeae712623aa63ae2ae523d8631b11839d492792cc615a7da10e5a95140a0
units@echo 9a626a0ec23b003aa810b80d3f7050e1ba1f6d5ea5261f01805849c674e3a205 8f1a0ac6f94e333f8b0cb866687be46203ea9316431d6af917b5e1d11e9a5655
units@source a9858a3cd9cbc656650d501ad9719f91a648056f61f99d3234cb000c31b6a7b0 8f1a0ac6f94e333f8b0cb866687be46203ea9316431d6af917b5e1d11e9a5655
text@command a0a476dab8c1b7ffdcbb70d5cf4fcba8879fdb8fe6ead92571896c4693af95a0 76343a6f385be6bc12202b5dc53caaa84128bc031132e2bebbdb718731f1ce2b
refused@echo 400f1c17eb4867df31a3154fe09259812b6abeb65c02ad0bd8bcdf6a115db60d 7c28068d421acf8149a0f864b2356c977509a642d581b301b6007fb9ffd5707c
graded@echo b83decab89eff8346063db586617c85744b2e728376b5439da8a4c4fee3838cc 78f7b10bd08842db5ebe06f15c1ccf1e5d1e68673ff527681935789699647f5f
deep/one@echo bb5ff72f7d7f856fbc267912742102855ba4929a215f457b2bcce2ed8b8b730c 6d30cec9855a1cdee014e1ce7fd4df7732d6b3f7f7bb9be3ce99591ad934ffae
table/first@echo 1f3becaf6876972712aa88dc3c215755a8292905936e035ad874d1af5586a63b e9f3096b31465fbce1837311d8b58e0b72ade304277883281644f219582366ce
table/second@echo ef1679a3ac659b621b9c8eda098b8e54529b22f76c98bc99e14a4a83d78de286 05c441c55a5fdd1b6133e2008de29f68d2c548b65210dc58bfad64bc922f4684
json/one@echo 2b896f23b3bf82de820973b2174e71d4e485112bd5f541ad3e469674212265fa 5206a29be263cd87d6018beedeb74849b3baf6da456d3fdb5ea5f98852738f71
json/two@echo c785cdca43086f8d5a1e5432ffb99bdf2ef5c2f136e96394f5fc6e511ef3afca 3fe51a05410b6485023af8136c524b8900cd7e8f579f37646b616ab38487d637
json/two@source aad4eda97dc88d7dda406a0dac7f7b5e1ff0528a5363572e35b41d8e8ff4a2e8 3fe51a05410b6485023af8136c524b8900cd7e8f579f37646b616ab38487d637
toml/one@echo a5566e67434eed3d831c4ef92df9c75a91483e065a123257901e596fcd2210dc 3fe51a05410b6485023af8136c524b8900cd7e8f579f37646b616ab38487d637
toml/one@source f30c0c3071de374bc2ad56b1cd89af653ab3f84536c3a3c67a91b357629a44e8 3fe51a05410b6485023af8136c524b8900cd7e8f579f37646b616ab38487d637
"#);
    }
}
