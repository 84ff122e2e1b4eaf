// The documents of the API, made from schemas/openapi.json: UPDATE=1 cargo test --test readers -- types
declare namespace Api {
  type ActionKind = "stop" | "cancel" | "pause" | "unpause" | "resume" | "rerun_failed" | "rescore" | "pin" | "unpin" | "delete";
  type AskedBody = {
    "by": string | null;
    "reason": string | null;
  };
  type BegunRun = {
    "queued": QueuedRun | null;
    "run": string | null;
    "v": 1;
  };
  type By = {
    "at": Instant;
    "host": string;
    "pid": number;
    "text"?: string | null;
    "uid": number;
    "user"?: string | null;
  };
  type CaseClass = "regressed" | "fixed" | "still-failing" | "flaky" | "still-passing" | "new" | "gone" | "not-judged";
  type CaseCounts = {
    "fixed": number;
    "flaky": number;
    "gone": number;
    "new": number;
    "not_judged": number;
    "regressed": number;
    "still_failing": number;
    "still_passing": number;
  };
  type CaseSide = {
    "duration_ms": number | null;
    "flaky": boolean;
    "outcome": Outcome | null;
    "passed": number;
    "score": number | null;
    "settled": number;
    "trials": number;
  };
  type CheckVerdict = "pass" | "fail" | "skip";
  type CleanupBody = {
    "dry_run": boolean;
    "stale_hours": number;
  };
  type CleanupReport = {
    "failures": Array<FailedPath>;
    "is_dry_run": boolean;
    "runs": Array<SweptRun>;
    "v": 1;
  };
  type ComingAttempt = {
    "attempt": number;
    "attempts": number | null;
    "left_ms": number;
    "provider": string | null;
    "repeat": number | null;
    "test": string | null;
    "trial": string;
    "until": Instant;
    "why": WaitReason;
  };
  type ComparedCase = {
    "base": CaseSide | null;
    "class": CaseClass;
    "new": CaseSide | null;
    "provider": string;
    "test": string;
    "why": string | null;
  };
  type ComparedMeasure = {
    "base": number;
    "change": number;
    "interval": [number, number] | null;
    "kind": MeasureKind;
    "name": string;
    "new": number;
    "p": number | null;
    "p_corrected": number | null;
    "resamples": number;
    "significant": boolean;
    "test": MeasureTest;
    "tests": number;
    "unit": string | null;
  };
  type ComparedPart = {
    "base": string | null;
    "new": string | null;
    "what": string;
  };
  type ComparedProvider = {
    "base_provider": string | null;
    "counts": CaseCounts;
    "measures": Array<ComparedMeasure>;
    "provider": string;
  };
  type ComparedRun = {
    "counts": ManifestCounts;
    "provider": string | null;
    "reason": Reason | null;
    "run": string;
    "scenario": string;
    "started_at": Instant;
    "status": RunStatus;
    "verdict": Verdict;
  };
  type Comparison = {
    "base": ComparedRun;
    "cases": Array<ComparedCase>;
    "counts": CaseCounts;
    "differences": Array<ComparedPart>;
    "filter": string | null;
    "new": ComparedRun;
    "providers": Array<ComparedProvider>;
    "v": 1;
    "warnings": Array<UnfairComparison>;
  };
  type DeleteBody = {
    "dry_run": boolean;
  };
  type Digest = string;
  type DoomedRun = {
    "because_of": Array<string>;
    "bytes": number;
    "completed_at": Instant | null;
    "counts": ManifestCounts;
    "created_at": Instant;
    "elapsed_ms": number;
    "exit_code": number | null;
    "is_alive": boolean;
    "is_not_yet_swept": boolean;
    "paused": Pause | null;
    "pinned": Pinned | null;
    "reason": Reason | null;
    "run": string;
    "run_dir": string;
    "scenario": string;
    "sessions": number;
    "signal": StopSignal | null;
    "stage": Stage;
    "started_at": Instant;
    "status": RunStatus;
    "verdict": Verdict;
    "worked_ms": number;
  };
  type EndedRun = {
    "completed_at": Instant | null;
    "counts": ManifestCounts;
    "created_at": Instant;
    "elapsed_ms": number;
    "exit_code": number | null;
    "is_alive": boolean;
    "is_not_yet_swept": boolean;
    "paused": Pause | null;
    "pinned": Pinned | null;
    "reason": Reason | null;
    "result": "stopped" | "cancelled" | "already_terminal" | "no_answer";
    "run": string;
    "run_dir": string;
    "scenario": string;
    "sessions": number;
    "signal": StopSignal | null;
    "stage": Stage;
    "started_at": Instant;
    "status": RunStatus;
    "v": 1;
    "verdict": Verdict;
    "worked_ms": number;
  };
  type ErrorClass = "trap" | "out-of-memory" | "limit" | "protocol" | "denied" | "invalid-input" | "invalid-config" | "unavailable" | "rate-limited" | "internal" | "other" | "poison" | "grader";
  type ErrorCode = "stack-overflow" | "memory-out-of-bounds" | "heap-misaligned" | "table-out-of-bounds" | "indirect-call-to-null" | "bad-signature" | "integer-overflow" | "integer-division-by-zero" | "bad-conversion-to-integer" | "unreachable-code-reached" | "interrupt" | "out-of-fuel" | "atomic-wait-non-shared-memory" | "null-reference" | "array-out-of-bounds" | "allocation-too-large" | "cast-failure" | "cannot-enter-component" | "no-async-result" | "unhandled-tag" | "continuation-already-consumed" | "disabled-opcode" | "async-deadlock" | "cannot-leave-component" | "cannot-block-sync-task" | "invalid-char" | "debug-assert-string-encoding-finished" | "debug-assert-equal-code-units" | "debug-assert-pointer-aligned" | "debug-assert-upper-bits-unset" | "string-out-of-bounds" | "list-out-of-bounds" | "invalid-discriminant" | "unaligned-pointer" | "task-cancel-not-cancelled" | "task-cancel-or-return-twice" | "subtask-cancel-after-terminal" | "task-return-invalid" | "waitable-set-drop-has-waiters" | "subtask-drop-not-resolved" | "thread-new-indirect-invalid-type" | "thread-new-indirect-uninitialized" | "backpressure-overflow" | "unsupported-callback-code" | "cannot-resume-thread" | "concurrent-future-stream-op" | "reference-count-overflow" | "stream-op-too-big" | "waitable-sync-and-async" | "uncaught-exception" | "other-trap" | string;
  type FailedPath = {
    "error": string;
    "path": string;
  };
  type FoundScenario = {
    "name": string | null;
    "path": string;
    "problem": string | null;
    "providers": Array<string>;
    "tests": number;
    "trials": number;
  };
  type GuestPhase = "computing" | "host-call";
  type HttpProblem = ProblemDocument;
  type InFlightAttempt = {
    "attempt": number;
    "attempts": number | null;
    "elapsed_ms": number | null;
    "grader": string | null;
    "is_grading": boolean;
    "phase": GuestPhase | null;
    "phase_elapsed_ms": number | null;
    "provider": string | null;
    "repeat": number | null;
    "since": Instant | null;
    "test": string | null;
    "trial": string;
    "what": string | null;
  };
  type Instant = string;
  type KeptTrial = {
    "because": string;
    "outcome": Outcome;
    "trial": string;
  };
  type Leftover = {
    "bytes": number;
    "path": string;
  };
  type ListedTrial = {
    "attempts": number;
    "duration_ms": number;
    "error": ErrorClass | null;
    "is_flaky": boolean;
    "ordinal": number;
    "outcome": Outcome;
    "provider": string;
    "repeat": number;
    "score": number | null;
    "seq": number;
    "summary": string | null;
    "test": string;
    "trial": string;
  };
  type LiveSession = {
    "done": number;
    "elapsed_ms": number;
    "host": string | null;
    "in_flight": Array<InFlightAttempt>;
    "more_waiting": number;
    "paused": Pause | null;
    "pid": number | null;
    "since": Instant;
    "waiting": Array<ComingAttempt>;
    "without_workers_since": Instant | null;
  };
  type LogLineRecord = {
    "at"?: Instant | null;
    "fields"?: { [key: string]: string };
    "level": string;
    "message": string;
  };
  type Manifest = {
    "completed_at"?: Instant | null;
    "content": Array<Digest>;
    "counts": ManifestCounts;
    "created_at": Instant;
    "format": number;
    "graders"?: Array<ManifestProvider>;
    "merged_from"?: Array<ManifestSource>;
    "metadata": Metadata;
    "options": any;
    "pinned"?: Pinned | null;
    "providers": Array<ManifestProvider>;
    "reason"?: Reason | null;
    "request"?: RunRequest | null;
    "run_id": string;
    "runner_version": string;
    "scenario": ManifestScenario;
    "selection": any;
    "sessions": Array<Session>;
    "shard"?: ManifestShard | null;
    "signal"?: StopSignal | null;
    "stage": Stage;
    "started_at": Instant;
    "status": RunStatus;
    "transitions": Array<Transition>;
    "verdict": Verdict;
  };
  type ManifestBoundSecret = {
    "header": string;
    "host": string;
    "name": string;
  };
  type ManifestCounts = {
    "error": number;
    "failed": number;
    "flaky": number;
    "passed": number;
    "planned": number;
    "skipped": number;
    "timeout": number;
  };
  type ManifestFolder = {
    "folder": string;
    "mode": string;
    "mount": string;
    "path": string;
  };
  type ManifestGrants = {
    "bound_secrets"?: Array<ManifestBoundSecret>;
    "env"?: { [key: string]: string };
    "fs"?: Array<ManifestFolder>;
    "net"?: Array<string>;
    "secrets"?: Array<string>;
  };
  type ManifestLimits = {
    "artifact_files": number;
    "artifacts": number;
    "file": number;
    "http_requests": number;
    "http_response": number;
    "input": number;
    "log": number;
    "log_records": number;
    "memory": number;
    "reply": number;
    "scratch": number;
    "stdio": number;
    "table_elements": number;
    "time_ms"?: number;
  };
  type ManifestMachine = {
    "architecture": string;
    "cores": number;
    "host": string;
  };
  type ManifestProvider = {
    "contract"?: string | null;
    "grants"?: ManifestGrants;
    "kind": string;
    "limits": ManifestLimits;
    "name": string;
    "plugin_sha256": Digest;
    "reuse"?: string | null;
  };
  type ManifestScenario = {
    "name": string;
    "path": string;
    "sha256": Digest;
  };
  type ManifestShard = {
    "count": number;
    "function": string;
    "index": number;
    "plan_digest": Digest;
    "planned_test_count": number;
    "suite": Digest;
  };
  type ManifestSource = {
    "index_sha256": Digest;
    "rows": number;
    "run_id": string;
    "shard": number;
  };
  type MatrixTest = {
    "cells": Array<ProviderCell | null>;
    "test": string;
  };
  type MeasureKind = "pass-rate" | "score" | "duration" | "metric";
  type MeasureTest = "mcnemar" | "bootstrap";
  type MeasuredMetric = {
    "name": string;
    "providers": Array<MeasuredProvider>;
    "unit": string | null;
  };
  type MeasuredProvider = {
    "mean": number;
    "provider": string;
    "quantiles": Array<number>;
    "values": number;
  };
  type Metadata = {
    "plan_digest": Digest;
    "planned_test_count": number;
    "suite": Digest;
  };
  type MoveBody = {
    "before": string | null;
    "priority": number | null;
  };
  type NoBody = { [key: string]: any };
  type Outcome = "passed" | "failed" | "error" | "timeout" | "skipped" | "stopped" | "ungraded";
  type PageAttempt = {
    "artifacts": Array<PageFile>;
    "attempt": number;
    "graders"?: Array<SpokenGrader>;
    "log": Array<any>;
    "outcome": Outcome | null;
    "output": any;
    "row": Row | null;
    "stderr": string;
    "stdout": string;
    "trial": string;
  };
  type PageFile = {
    "bytes": number;
    "media_type": string;
    "name": string;
    "path": string;
  };
  type Pause = {
    "at": Instant;
    "by"?: By | null;
    "until"?: Instant | null;
  };
  type PausedDocument = {
    "completed_at": Instant | null;
    "counts": ManifestCounts;
    "created_at": Instant;
    "elapsed_ms": number;
    "exit_code": number | null;
    "is_alive": boolean;
    "is_not_yet_swept": boolean;
    "paused": Pause | null;
    "pinned": Pinned | null;
    "reason": Reason | null;
    "result": "paused" | "already_paused" | "unpaused" | "not_paused" | "already_terminal" | "no_answer";
    "run": string;
    "run_dir": string;
    "scenario": string;
    "sessions": number;
    "signal": StopSignal | null;
    "stage": Stage;
    "started_at": Instant;
    "status": RunStatus;
    "v": 1;
    "verdict": Verdict;
    "worked_ms": number;
  };
  type Pinned = {
    "at": Instant;
    "reason"?: string | null;
  };
  type PlaceSchema = {
    "end": number;
    "start": number;
  };
  type PlanHead = {
    "graders"?: Array<PlannedAccess>;
    "jobs": number;
    "path": string;
    "pending": number;
    "plan_digest": Digest;
    "planned": number;
    "providers": Array<PlannedAccess>;
    "run": string | null;
    "scenario": string;
  };
  type PlannedAccess = {
    "contract"?: string | null;
    "grants"?: ManifestGrants;
    "kind": string;
    "limits": ManifestLimits;
    "missing_secrets": Array<string>;
    "name": string;
    "plugin_sha256": Digest;
    "reuse"?: string | null;
  };
  type PlannedTest = {
    "expect": { [key: string]: any };
    "files": Array<PageFile>;
    "input": any;
    "meta": { [key: string]: any };
    "ordinal": number;
    "repeat": number;
    "tags": Array<string>;
  };
  type ProblemDocument = {
    "at"?: PlaceSchema | null;
    "candidates"?: Array<string>;
    "detail": string;
    "help"?: string | null;
    "shown"?: string | null;
    "status": number;
    "title": string;
    "type": string;
  };
  type ProviderCell = {
    "counts": { [key: string]: number };
    "trial": string;
  };
  type ProviderLatency = {
    "counts": Array<number>;
    "provider": string;
  };
  type ProviderSummary = {
    "counts": ManifestCounts;
    "max_ms": number;
    "p50_ms": number | null;
    "p95_ms": number | null;
    "provider": string;
  };
  type PruneBody = {
    "dry_run": boolean;
    "keep_last": number | null;
    "max_bytes": number | null;
    "older_than_hours": number | null;
    "statuses": Array<string>;
  };
  type PruneReport = {
    "failures": Array<FailedPath>;
    "is_dry_run": boolean;
    "left": SizedCount;
    "leftovers": Array<Leftover>;
    "runs": Array<DoomedRun>;
    "spared": Array<SparedRun>;
    "stored_files": SizedCount;
    "unreadable": Array<FailedPath>;
    "v": 1;
  };
  type QueueChange = {
    "by": By;
    "command": "exec" | "resume";
    "error": string | null;
    "folder": string;
    "id": string;
    "place": number | null;
    "priority": number;
    "result": "queued" | "moved" | "removed";
    "since": Instant;
    "state": "waiting" | "starting" | "refused";
    "v": 1;
    "what": string;
  };
  type QueuedRun = {
    "by": By;
    "command": "exec" | "resume";
    "error": string | null;
    "folder": string;
    "id": string;
    "place": number | null;
    "priority": number;
    "since": Instant;
    "state": "waiting" | "starting" | "refused";
    "what": string;
  };
  type Reason = "plugin" | "setup" | "internal" | "interrupted" | "stopped" | "timeout" | "crashed" | "storage" | "fail-fast" | "budget" | "holes" | "cancelled";
  type RequestKey = {
    "asked": string;
    "text": string;
  };
  type RescoreBody = {
    "dry_run": boolean;
    "filter": string | null;
    "graders": boolean;
  };
  type RescoreCounts = {
    "fixed": number;
    "kept": number;
    "other": number;
    "regressed": number;
    "same": number;
    "unchanged": number;
    "ungraded": number;
  };
  type RescoreReport = {
    "after": ManifestCounts;
    "before": ManifestCounts;
    "changes": Array<RescoredTrial>;
    "is_dry_run": boolean;
    "kept": Array<KeptTrial>;
    "rescored": RescoreCounts;
    "run": string;
    "scenario": string;
    "session": number | null;
    "ungraded": Array<UngradedTrial>;
    "v": 1;
  };
  type RescoredCheck = {
    "after": CheckVerdict | null;
    "before": CheckVerdict | null;
    "message": string | null;
    "name": string;
  };
  type RescoredTrial = {
    "after": Outcome;
    "before": Outcome;
    "checks": Array<RescoredCheck>;
    "trial": string;
  };
  type ResumeBody = {
    "accept_changes": boolean;
    "by": string | null;
    "force": boolean;
    "priority": number | null;
    "queue": boolean;
    "reason": string | null;
    "rerun": string | null;
  };
  type RetentionPlan = {
    "v": 1;
    "would_go": PruneReport | null;
  };
  type Row = {
    "artifacts"?: Array<RowArtifact>;
    "attempt": number;
    "checks"?: Array<RowCheck>;
    "denied"?: Array<RowDenied>;
    "duration_ms": number;
    "error"?: RowError | null;
    "final": boolean;
    "fingerprint": RowDigest;
    "flaky"?: boolean;
    "grades"?: Array<RowGrade>;
    "judged"?: RowJudged | null;
    "judgement_fingerprint"?: RowDigest | null;
    "logs"?: RowLogs | null;
    "metrics"?: Array<RowMetric>;
    "ordinal": number;
    "outcome": Outcome;
    "output"?: RowOutput | null;
    "provider": string;
    "repeat": number;
    "score"?: number | null;
    "seq": number;
    "session": number;
    "started_at": Instant;
    "summary"?: string | null;
    "suspended_ms"?: number | null;
    "test": string;
    "trial": string;
    "truncated"?: boolean;
    "usage": RowUsage;
    "v": number;
    "verdict"?: CheckVerdict | null;
    "worker"?: string | null;
  };
  type RowArtifact = {
    "bytes": number;
    "media_type": string;
    "name": string;
  };
  type RowCheck = {
    "actual"?: any;
    "details"?: any;
    "diff"?: string | null;
    "expected"?: any;
    "message"?: string | null;
    "name": string;
    "score"?: number | null;
    "verdict": CheckVerdict;
  };
  type RowDenied = {
    "grant"?: string | null;
    "what": string;
  };
  type RowDigest = string;
  type RowError = {
    "class"?: ErrorClass | null;
    "code": ErrorCode;
    "message": string;
    "retry_after_ms"?: number | null;
  };
  type RowGrade = {
    "asked"?: RowDigest | null;
    "attempts": number;
    "duration_ms": number;
    "error"?: RowError | null;
    "explanation"?: string | null;
    "grader": string;
    "kept"?: boolean;
    "least"?: number | null;
    "log"?: Array<LogLineRecord>;
    "metrics"?: Array<RowMetric>;
    "own_verdict"?: CheckVerdict | null;
    "score"?: number | null;
    "stderr"?: string;
    "stdout"?: string;
    "usage": RowUsage;
    "verdict"?: CheckVerdict | null;
  };
  type RowJudged = {
    "scenario": RowDigest;
    "seq": number;
    "session": number;
  };
  type RowLogs = {
    "at": number;
    "bytes": number;
    "file": number;
  };
  type RowMetric = {
    "name": string;
    "unit"?: string | null;
    "value": number;
  };
  type RowOutput = StoredOutput | any;
  type RowUsage = {
    "bytes_in"?: number;
    "bytes_out"?: number;
    "fuel"?: number | null;
    "host_calls"?: number;
    "http_requests"?: number;
    "peak_memory"?: number;
  };
  type RunAction = {
    "action": ActionKind;
    "is_possible": boolean;
    "why_not": string | null;
  };
  type RunActivity = {
    "in_flight": Array<InFlightAttempt>;
    "more_waiting": number;
    "paused": Pause | null;
    "waiting": Array<ComingAttempt>;
    "without_workers_since": Instant | null;
  };
  type RunMetrics = {
    "looked_at": number;
    "metrics": Array<MeasuredMetric>;
    "more": number;
    "rev": number;
    "trials": number;
    "v": 1;
  };
  type RunOpened = {
    "denials": Array<string>;
    "live": LiveSession | null;
    "providers": Array<ProviderSummary>;
    "v": 1;
  };
  type RunPage = {
    "actions": Array<RunAction>;
    "manifest": Manifest;
    "now": Instant;
    "run": RunSummary;
    "v": 1;
  };
  type RunQueue = {
    "active": Array<RunSummary>;
    "max_active_runs": number;
    "requests": Array<QueuedRun>;
    "unreadable": Array<FailedPath>;
    "v": 1;
  };
  type RunRequest = {
    "at": Instant;
    "by": By;
    "id": string;
    "key"?: RequestKey | null;
    "priority": number;
  };
  type RunSeries = {
    "latencies": Array<ProviderLatency>;
    "outcomes": Array<SeriesBin>;
    "rev": number;
    "v": 1;
  };
  type RunStatus = "running" | "completed" | "failed" | "incomplete" | "cancelled";
  type RunSummary = {
    "completed_at": Instant | null;
    "counts": ManifestCounts;
    "created_at": Instant;
    "elapsed_ms": number;
    "exit_code": number | null;
    "is_alive": boolean;
    "is_not_yet_swept": boolean;
    "paused": Pause | null;
    "pinned": Pinned | null;
    "reason": Reason | null;
    "run": string;
    "run_dir": string;
    "scenario": string;
    "sessions": number;
    "signal": StopSignal | null;
    "stage": Stage;
    "started_at": Instant;
    "status": RunStatus;
    "verdict": Verdict;
    "worked_ms": number;
  };
  type RunWaiting = {
    "activity": RunActivity | null;
    "now": Instant;
    "v": 1;
  };
  type RunsPage = {
    "all": number;
    "count": number;
    "next": string | null;
    "now": Instant;
    "runs": Array<RunSummary>;
    "unreadable": Array<FailedPath>;
    "v": 1;
  };
  type ScenarioList = {
    "scenarios": Array<FoundScenario>;
    "v": 1;
  };
  type SeriesBin = {
    "broken": number;
    "failed": number;
    "passed": number;
    "skipped": number;
  };
  type ServerInfo = {
    "is_read_only": boolean;
    "now": Instant;
    "results": string;
    "scenarios": Array<string>;
    "v": 1;
    "version": string;
  };
  type Session = {
    "closed_at"?: Instant | null;
    "error"?: string | null;
    "forced"?: boolean;
    "from_seq": number;
    "grading"?: Array<[number, number]>;
    "in_flight"?: Array<[number, number]>;
    "machine"?: ManifestMachine | null;
    "n": number;
    "opened_at": Instant;
    "opened_by": string;
    "origin"?: SessionOrigin | null;
    "pauses"?: Array<Pause>;
    "reason"?: Reason | null;
    "rerun"?: string | null;
    "suspended_ms"?: number | null;
  };
  type SessionOrigin = {
    "from_seq": number;
    "run_id": string;
    "session": number;
  };
  type SizedCount = {
    "bytes": number;
    "count": number;
  };
  type SlowerTest = {
    "before_ms": number;
    "now_ms": number;
  };
  type SparedRun = {
    "because": string;
    "run": string;
  };
  type SpokenGrader = {
    "grader": string;
    "log": Array<LogLineRecord>;
    "stderr": string;
    "stdout": string;
  };
  type Stage = "plan" | "run" | "finish";
  type StartBody = {
    "by": string | null;
    "exclude": Array<string>;
    "filter": string | null;
    "overrides": { [key: string]: any };
    "priority": number | null;
    "providers": Array<string>;
    "queue": boolean;
    "reason": string | null;
    "repeat": number | null;
    "scenario": string;
    "tags": Array<string>;
    "tests": Array<string>;
  };
  type StartPlan = {
    "plan": PlanHead;
    "trials": Array<string>;
    "v": 1;
  };
  type StopBody = {
    "by": string | null;
    "mode": StopBodyMode;
    "reason": string | null;
  };
  type StopBodyMode = "stop" | "drain" | "kill";
  type StopSignal = "SIGINT" | "SIGTERM" | "SIGHUP";
  type StoredOutput = {
    "artifact": string;
    "bytes": number;
    "sha256": Digest;
  };
  type SweptRun = {
    "completed_at": Instant | null;
    "counts": ManifestCounts;
    "created_at": Instant;
    "elapsed_ms": number;
    "exit_code": number | null;
    "is_alive": boolean;
    "is_not_yet_swept": boolean;
    "paused": Pause | null;
    "pinned": Pinned | null;
    "providers": Array<string>;
    "reason": Reason | null;
    "run": string;
    "run_dir": string;
    "scenario": string;
    "sessions": number;
    "signal": StopSignal | null;
    "stage": Stage;
    "started_at": Instant;
    "status": RunStatus;
    "verdict": Verdict;
    "worked_ms": number;
  };
  type TestTrend = {
    "duration_ms": number | null;
    "flake_rate": number | null;
    "flaky": number;
    "judged": number;
    "outcomes": Array<TrendOutcome | null>;
    "passed": number;
    "provider": string;
    "scenario": string;
    "slower": SlowerTest | null;
    "test": string;
  };
  type TestTrends = {
    "filter": string | null;
    "runs": Array<TrendRun>;
    "tests": Array<TestTrend>;
    "v": 1;
  };
  type Transition = {
    "at": Instant;
    "by"?: By | null;
    "from"?: RunStatus | null;
    "reason"?: Reason | null;
    "signal"?: StopSignal | null;
    "to": RunStatus;
    "writer": string;
  };
  type TrendOutcome = "passed" | "flaky" | "failed" | "error" | "timeout" | "skipped";
  type TrendRun = {
    "judged": number;
    "pass_rate": number | null;
    "passed": number;
    "run": string;
    "scenario": string;
    "started_at": Instant;
    "status": RunStatus;
    "verdict": Verdict;
  };
  type TrialMatrix = {
    "more": number;
    "providers": Array<string>;
    "rev": number;
    "tests": Array<MatrixTest>;
    "v": 1;
  };
  type TrialPage = {
    "attempts": Array<PageAttempt>;
    "command": string | null;
    "planned": PlannedTest | null;
    "provider": string;
    "run": string;
    "run_dir": string;
    "shown": number | null;
    "test": string;
    "trial": string;
    "v": 1;
  };
  type TrialsPage = {
    "count": number;
    "offset": number;
    "rev": number;
    "trials": Array<ListedTrial>;
    "v": 1;
  };
  type UnfairComparison = {
    "kind": UnfairKind;
    "text": string;
  };
  type UnfairKind = "other-scenario" | "running" | "partial" | "other-tests" | "other-input" | "other-expectation" | "other-repeats" | "other-machine" | "nothing-shared";
  type UngradedTrial = {
    "graders": Array<string>;
    "outcome": Outcome;
    "trial": string;
  };
  type Verdict = "passed" | "failed" | "none";
  type WaitReason = "retry" | "rate-limit";
}
