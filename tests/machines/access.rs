//! An engine that is spoken with encrypted, by those whom it knows.

use crate::{
    nats::{Engine, assert_whole, end, exec, worker},
    support::{runner::Runner, server::Authority},
};

const PASSWORD: &str = "a-password-of-the-engine";

#[test]
fn an_engine_is_spoken_with_encrypted_by_those_whom_it_knows_and_nobody_writes_down_who_that_is() {
    let runner = Runner::hostile("[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n");
    let authority = Authority::new("of the engine");
    let (certificate, key) = authority.sign("localhost");
    runner.write("engine.pem", certificate.pem());
    runner.write("engine.key", key.serialize_pem());
    runner.write("ca.pem", authority.pem());
    runner.write("other.pem", Authority::new("of nobody").pem());
    let engine = Engine::start_with(&format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\" }}\n\
         authorization {{ user: me, password: \"{PASSWORD}\" }}\n",
        runner.path("engine.pem").display(),
        runner.path("engine.key").display()
    ));
    let place = engine.url().replace("nats://127.0.0.1", "localhost");
    let [nobody, known, mistaken] =
        ["", &format!("me:{PASSWORD}@"), "me:wrong@"].map(|who| format!("tls://{who}{place}"));
    let check =
        |url: &str, flags: &[&str]| runner.run(&[&["engine", "check", url], flags].concat());
    check(&known, &["--engine-ca", "ca.pem"]).expect(0);
    for (url, authority, says) in [
        (&nobody, "ca.pem", "say who you are there"),
        (&mistaken, "ca.pem", "say who you are there"),
        (&known, "other.pem", "`--engine-ca FILE` names"),
        (&known, "missing.pem", "missing.pem"),
    ] {
        let refused = check(url, &["--engine-ca", authority]).expect(3);
        refused.says(&[says]);
        assert!(!refused.stderr.contains(PASSWORD), "{refused:?}");
    }
    // An engine that wants to be spoken with encrypted is not spoken with otherwise.
    check(&known.replace("tls:", "nats:"), &[])
        .expect(3)
        .says(&["`--engine-ca FILE` names"]);

    let engine = engine.known_as(&known);
    let flags = ["--engine-ca", "ca.pem"];
    let only = worker(&runner, &engine, "only", &flags);
    exec(&runner, &engine, &flags).finish().expect(0);
    assert_whole(&runner, 1);
    end(only);
    let found = walkdir::WalkDir::new(runner.path("results"))
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .find(|entry| {
            let bytes = fs_err::read(entry.path()).unwrap();
            String::from_utf8_lossy(&bytes).contains(PASSWORD)
        });
    assert!(found.is_none(), "{found:?}");
}
