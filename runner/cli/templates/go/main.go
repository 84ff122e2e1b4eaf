// Returns a text in capitals, and counts its words.
//
// The runner calls `provider run` with a test on standard input, or `provider describe`, and reads one JSON object from
// standard output. Standard error is the test's log.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// Test is a test, with the fields that are used here.
type Test struct {
	Input  Input  `json:"input"`
	Config Config `json:"config"`
}

// Input is the input of a test.
type Input struct {
	Text string `json:"text"`
}

// Config is the provider's configuration in a scenario.
type Config struct {
	Suffix string `json:"suffix"`
}

// Reply is the provider's reply; the scenario's `expect` checks its output.
type Reply struct {
	Output  Output   `json:"output"`
	Metrics []Metric `json:"metrics"`
}

// Output is the output of a test.
type Output struct {
	Shout string `json:"shout"`
	Words int    `json:"words"`
}

// Metric is a measured value.
type Metric struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// Error is returned in place of a reply. Its kind decides whether a scenario's `retries` repeat the test.
type Error struct {
	Kind    string `json:"kind"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// With the schemas, the runner finds a typo in a scenario before anything runs.
const description = `{
  "name": "{{name}}",
  "version": "0.1.0",
  "summary": "Answers a text in capitals, and counts its words",
  "input_schema": {
    "type": "object",
    "properties": { "text": { "type": "string", "description": "What to shout." } },
    "required": ["text"],
    "additionalProperties": false
  },
  "config_schema": {
    "type": "object",
    "properties": { "suffix": { "type": "string", "description": "What to end with." } },
    "additionalProperties": false
  }
}`

func main() {
	if len(os.Args) > 1 && os.Args[1] == "describe" {
		answer("ok", json.RawMessage(description))
		return
	}
	reply, err := run(os.Stdin)
	if err != nil {
		answer("err", err)
		return
	}
	answer("ok", reply)
}

func run(stdin io.Reader) (*Reply, *Error) {
	var test Test
	if err := json.NewDecoder(stdin).Decode(&test); err != nil {
		return nil, &Error{"invalid-input", "", err.Error()}
	}
	words := len(strings.Fields(test.Input.Text))
	if words == 0 {
		return nil, &Error{"invalid-input", "no-words", "`text` has no words"}
	}
	fmt.Fprintf(os.Stderr, "shouting; words: %d\n", words)

	shout := strings.ToUpper(test.Input.Text) + test.Config.Suffix
	return &Reply{
		Output:  Output{Shout: shout, Words: words},
		Metrics: []Metric{{Name: "words", Value: float64(words)}},
	}, nil
}

// answer writes the object that the runner reads.
func answer(name string, value any) {
	if err := json.NewEncoder(os.Stdout).Encode(map[string]any{name: value}); err != nil {
		panic(err)
	}
}
