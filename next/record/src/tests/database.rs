//! The status graph as the database knows it.

use runner_model::RunStatus;

use super::SCHEMA;

#[test]
fn the_trigger_has_the_graph_of_the_model() {
    let list = rusqlite::Connection::open_in_memory().unwrap();
    list.execute_batch(SCHEMA).unwrap();
    for from in RunStatus::ALL {
        for to in RunStatus::ALL {
            list.execute("DELETE FROM runs", []).unwrap();
            let insert = format!(
                "INSERT INTO runs VALUES ('r', 's', '{from}', NULL, 'none', 't', NULL, 0, 0, 0, 0, 0, 0, 0, '', 0, 0, 0, 0, 0)"
            );
            list.execute(&insert, []).unwrap();
            let changed = list.execute("UPDATE runs SET status = ?1", [to.as_str()]);
            // Writing the same status again is no change.
            assert_eq!(
                changed.is_ok(),
                from == to || from.next(*to).is_ok(),
                "{from} to {to}"
            );
        }
    }
}
