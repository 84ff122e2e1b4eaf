//! The bytes that an agent sends to a model and passes to the host.

use runner_sdk::http::Response;
use runner_sdk::testing::{Calls, Host};
use runner_sdk::{Reply, Result};
use serde_json::{Value, json};

use super::{answer, calling, results, text};
use crate::Agent;

/// Bytes that the host accepts in one call by default.
const HOST: usize = 4 << 20;

/// Runs an agent with more keys in its configuration, whose model gets `turns` answers and ends with a text.
fn run(
    turns: usize,
    answer: impl Fn(usize) -> Response + 'static,
    tool: impl Fn(usize) -> Value + 'static,
    more: &Value,
) -> (Result<Reply>, Calls) {
    let mut config = json!({"model": "m", "api_key_secret": "", "max_turns": 100});
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    let answers = (0..turns).map(answer).chain([text("done")]).collect::<Vec<_>>();
    let host = Host::new().responses(answers.into_iter().map(Ok));
    let mut made = 0;
    let host = host.tool("flood", "Prints", move |_| {
        made += 1;
        Ok(tool(made))
    });
    let ran = host.run_recorded::<Agent>(json!("hi"), config);
    for request in &ran.1.requests {
        assert!(request.body.as_ref().unwrap().len() <= HOST);
    }
    for step in &ran.1.steps {
        assert!(step.to_string().len() <= HOST);
    }
    ran
}

fn sizes(calls: &Calls) -> Vec<usize> {
    calls.requests.iter().map(|request| request.body.as_ref().unwrap().len()).collect()
}

fn ended(calls: &Calls) -> &Value {
    &calls.steps.last().unwrap()["extra"]["ended"]
}

fn flooding(_: usize) -> Response {
    calling(&[("flood", "{}")])
}

/// Returns what a program with this output returns to its caller.
fn printed(bytes: usize) -> Value {
    json!({"exit_code": 0, "stdout": "x\n".repeat(bytes / 2), "stderr": "warning"})
}

#[test]
fn long_result_is_cut_for_the_model_and_stays_json() {
    let once = |made| printed(if made == 1 { 3_000_000 } else { 10 });
    let (reply, calls) = run(2, flooding, once, &json!({}));
    assert_eq!(reply.unwrap().output().unwrap(), "done");
    let result = &results(&calls)[0];
    assert!((16_000..=16_384).contains(&result.len()), "{}", result.len());
    let read: Value = serde_json::from_str(result).unwrap();
    assert_eq!((&read["exit_code"], &read["stderr"]), (&json!(0), &json!("warning")));
    assert!(read["stdout"].as_str().unwrap().contains(" bytes left out\n"), "{result}");
    // The log has what the transcript, whose calls are whole, does not show.
    assert!(calls.log[0].1.ends_with("of 4500046 bytes of a result"), "{:?}", calls.log[0]);
    // Four bytes of a request are about a token.
    assert!(sizes(&calls).iter().sum::<usize>() / 4 < 30_000, "{:?}", sizes(&calls));
    let (_, calls) = run(1, flooding, |_| json!("é".repeat(9000)), &json!({"max_result": 1000}));
    assert!(results(&calls)[0].len() <= 1000);
}

#[test]
fn flooded_turns_cost_at_most_the_context_each() {
    for (context, bytes, turns) in [("400KiB", 400 << 10, 30), ("24KiB", 24 << 10, 20)] {
        let (reply, calls) =
            run(turns, flooding, |_| printed(50_000), &json!({"context": context}));
        assert_eq!(reply.unwrap().output().unwrap(), "done", "{context}");
        assert_eq!(ended(&calls), "done");
        let sizes = sizes(&calls);
        assert!(sizes.iter().all(|size| *size <= bytes), "{context}: {sizes:?}");
        assert!(sizes.iter().any(|size| *size > bytes / 2), "{context}: {sizes:?}");
    }
}

#[test]
fn oldest_results_are_shortened_first_and_the_transcript_says_so() {
    let config = json!({"context": "40KiB", "max_result": "10KiB"});
    let (_, calls) = run(6, flooding, |made| json!(format!("{made}").repeat(9000)), &config);
    let lengths: Vec<_> = results(&calls).iter().map(String::len).collect();
    assert_eq!(lengths.len(), 6);
    assert!(lengths[0] < 1100 && lengths[5] == 9000, "{lengths:?}");
    assert!(results(&calls)[0].starts_with("111"), "{}", results(&calls)[0]);
    assert!(results(&calls)[0].contains(" bytes left out\n"));
    let notes: Vec<_> = calls.steps.iter().filter(|step| step["source"] == "system").collect();
    assert_eq!(notes[0]["extra"]["shortened_results"], 2, "{notes:?}");
    let note = notes[0]["message"].as_str().unwrap();
    assert!(note.contains("the conversation was over `context`, 40960 bytes"), "{note}");
    // A shortened conversation has room for further turns, so that servers can use their caches.
    assert!(notes.len() < 3, "{notes:?}");
}

#[test]
fn many_calls_of_a_turn_share_the_context() {
    let many = |_| calling(&vec![("flood", "{}"); 100]);
    let config = json!({"context": "200KiB"});
    let (reply, calls) = run(3, many, |_| printed(50_000), &config);
    assert_eq!(reply.unwrap().output().unwrap(), "done");
    assert!(sizes(&calls).iter().all(|size| *size <= 200 << 10), "{:?}", sizes(&calls));
    let last = &results(&calls)[299];
    assert!(last.len() > 500, "{last}");
}

#[test]
fn given_messages_are_never_cut() {
    let long = "y".repeat(600 << 10);
    let host = Host::new().responses([Ok(calling(&[("flood", "{}")])), Ok(text("done"))]);
    let host = host.tool("flood", "Prints", |_| Ok(printed(100_000)));
    let config = json!({"model": "m", "api_key_secret": ""});
    let (reply, calls) = host.run_recorded::<Agent>(json!(long), config);
    assert_eq!(reply.unwrap().output().unwrap(), "done");
    for request in &calls.requests {
        assert_eq!(super::body(request)["messages"][0]["content"], long);
    }
    // All that follows may still have a half of `context`.
    assert!(results(&calls)[0].len() > 16_000);
    // A step of the transcript is bounded.
    assert!(calls.steps[0]["message"].as_str().unwrap().len() <= HOST / 16);
}

#[test]
fn huge_answers_end_the_agent_and_not_the_attempt() {
    let thinking = |_| {
        let calls = json!([{"id": "c", "function": {"name": "flood", "arguments": "{}"}}]);
        let thought = "\u{1}".repeat(300 << 10);
        answer(&json!({"content": "so", "reasoning_content": thought, "tool_calls": calls}))
    };
    let (reply, calls) = run(9, thinking, |_| json!(1), &json!({}));
    assert_eq!(reply.unwrap().output().unwrap(), "so");
    assert_eq!((ended(&calls), calls.requests.len(), calls.tools.len()), (&json!("context"), 1, 1));

    let arguments = json!({"text": "z".repeat(5 << 20)}).to_string();
    let huge = move |_| calling(&[("flood", &arguments), ("flood", "{}")]);
    let (reply, calls) = run(1, huge, |_| json!(1), &json!({}));
    reply.unwrap();
    assert_eq!((ended(&calls), calls.tools.len()), (&json!("context"), 1));

    let (reply, calls) = run(1, |_| text(&"\n".repeat(3 << 20)), |_| json!(1), &json!({}));
    let output = reply.unwrap().output().unwrap();
    assert!(output.to_string().len() <= HOST - (64 << 10));
    assert!(calls.log[0].1.contains("megabytes"), "{:?}", calls.log);
    assert_eq!(ended(&calls), "done");

    let name = "n".repeat(5 << 20);
    let (reply, calls) = run(1, move |_| calling(&[(&name, "{}")]), |_| json!(1), &json!({}));
    reply.unwrap();
    assert_eq!(ended(&calls), "done");
    let error = json!({"error": {"message": "e".repeat(5 << 20)}});
    let refused = move |_| Response::new(401).with_json(&error).unwrap();
    let (reply, _) = run(1, refused, |_| json!(1), &json!({}));
    assert!(reply.unwrap_err().message.len() < 4096);
}
