//! A text is a scenario, or its mistakes are shown with their places.
#![no_main]

mod problems;
mod still;

use libfuzzer_sys::fuzz_target;
use problems::assert_shown;
use runner_model::SetVars;
use runner_scenario::parse_stored;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else { return };
    match parse_stored(text, "fuzz", &SetVars::default()) {
        Ok(scenario) => {
            assert!(!scenario.providers.is_empty());
            assert_eq!(scenario.text, text);
        }
        Err(problems) => assert_shown(&problems, text),
    }
});
