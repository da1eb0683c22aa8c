use std::fmt;

use super::Severity;

macro_rules! codes {
    ($($code:ident $name:ident $severity:ident $title:literal $($explanation:literal)?)+) => {
        /// Every kind of complaint there is. Numbers are never used again for something else.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $title] $name,)+
        }

        impl Code {
            /// All codes, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The number, e.g. `E0203`.
            pub fn number(self) -> &'static str {
                match self { $(Self::$name => stringify!($code),)+ }
            }

            /// What it is about, in one line.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }

            /// What it means, an example, and what to do: for `atoll explain`.
            pub fn explanation(self) -> &'static str {
                match self {
                    $(Self::$name => section(stringify!($code), concat!("" $(, $explanation)?)),)+
                }
            }

            /// How bad it is.
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)+ }
            }
        }
    };
}

// E00 files and TOML · E01 structure of a pipeline · E02 names and references · E03 expressions and templates ·
// E04 verbs and schemas · E05 control and graph · E06 inputs · E07 scenarios · W warnings of the same groups.
codes! {
    E0001 Syntax Error "invalid TOML"
    E0002 PipelineMissing Error "unknown pipeline"
    E0003 Unreadable Error "unreadable file"
    E0004 BadSetting Error "invalid argument of `--set`"
    E0005 ExtendsCycle Error "circular `extends`"
    E0006 NothingToRemove Error "removal of an unknown step"
    E0101 LanguageVersion Error "missing or unknown language version"
    E0102 UnknownKey Error "unknown key"
    E0103 WrongType Error "wrong type of value"
    E0104 MissingKey Error "missing key"
    E0105 BadName Error "invalid name"
    E0106 NoSteps Error "pipeline or body without steps"
    E0107 BadDuration Error "invalid duration"
    E0108 UnknownWord Error "unsupported value"
    E0109 BadRange Error "value out of range"
    E0110 UnknownLabel Error "undeclared label"
    E0201 UnknownName Error "unknown name"
    E0202 UnknownStep Error "unknown step"
    E0203 UnknownInput Error "undeclared input"
    E0204 ShadowedStep Error "inner step with the name of an outer step"
    E0205 UnknownStepField Error "unknown field of a step"
    E0206 UnknownField Error "unknown field"
    E0207 UnknownOutputField Error "unknown field of an output"
    E0208 NotHere Error "name out of scope"
    E0209 DynamicStep Error "dynamic step reference"
    E0210 HiddenItem Error "inner item that hides an outer one"
    E0211 InsideBody Error "reference to a step inside another body"
    E0301 ExpressionSyntax Error "syntax error in an expression"
    E0302 TemplateSyntax Error "syntax error in a template"
    E0303 NotCondition Error "condition that is not a boolean"
    E0304 UnknownFilter Error "unknown filter, test or function"
    E0305 LetCycle Error "circular dependency in `let`"
    E0306 FunctionMisuse Error "invalid use of a function or filter"
    E0307 BracesInExpression Error "expression in braces"
    E0308 MixedTypes Error "incompatible types in an expression"
    E0401 NoVerb Error "step without a verb"
    E0402 TwoVerbs Error "step with more than one verb"
    E0403 UnknownVerb Error "unknown verb"
    E0404 UnknownVerbKey Error "unknown key of a verb"
    E0405 VerbKeyType Error "invalid input of a verb"
    E0406 MissingVerbKey Error "missing key of a verb"
    E0407 BadSchema Error "invalid JSON Schema"
    E0408 UnknownResource Error "unknown resource"
    E0409 HoldOne Error "`hold` without exactly one resource"
    E0410 TextMissing Error "reference to a missing file"
    E0411 NoEffect Error "key without effect"
    E0412 VaryingFile Error "file path that is unknown before the run"
    E0413 UnknownLane Error "unknown lane"
    E0501 Cycle Error "circular dependency between steps"
    E0502 SelfRead Error "step that reads itself"
    E0503 BodyMisplaced Error "body on a step that cannot have one"
    E0504 LoopBound Error "loop without a limit"
    E0505 UnknownState Error "undeclared state"
    E0506 CallCycle Error "circular call of a pipeline"
    E0507 CallUnknownInput Error "unknown input in a call"
    E0508 CallMissingInput Error "missing input in a call"
    E0509 ToleratesOuter Error "inner step that tolerates an outer one"
    E0510 OnPause Error "invalid use of `on_pause`"
    E0511 EqualKeys Error "duplicate item key"
    E0512 Always Error "invalid use of `always`"
    E0601 InputUnknown Error "unknown input"
    E0602 InputMissing Error "missing required input"
    E0603 InputType Error "wrong type of input"
    E0604 InputRange Error "input out of range"
    E0605 InputWord Error "input that is not one of the choices"
    E0606 InputUnreadable Error "unreadable input file or directory"
    E0607 InputEmpty Error "empty input"
    E0608 InputDeclaration Error "invalid declaration of an input"
    E0609 InputModel Error "unknown model in an input"
    E0610 InputRefused Error "inputs refused by the pipeline"
    E0611 InputSecret Error "secret value in an input"
    E0612 SecretAsText Error "secret name used as its value"
    E0701 ScenarioSyntax Error "invalid YAML in a scenario file"
        "The file could not be read as YAML; the message says what was expected and the place is where reading stopped. \
         Often a line above it lacks a closing quote or bracket, or text with `: ` in it needs quotes."
    E0702 ScenarioKey Error "unknown key in a scenario"
        "Unknown keys are refused, because a misspelt `expect` or `retry` would otherwise be left out without a word. \
         The help names the nearest known key."
    E0703 ScenarioShape Error "wrong type of value in a scenario"
        "A list, a mapping, text or a number stands where something else is expected, e.g. `steps:` without dashes."
    E0704 ScenarioMissing Error "incomplete scenario"
        "A scenario needs `id` and at least one step; a request needs `method` and `path`, a command needs `command`, a \
         capture needs `name`."
    E0706 ScenarioAction Error "step without exactly one action"
        "Each step does exactly one thing: it has one of the keys `request`, `exec`, `browser`, `grpc`, `ws`, `tui` and \
         `parallel`. Split a step that has two."
    E0707 ScenarioTwice Error "duplicate scenario id"
        "Ids name scenarios in results, so each may be used once in a directory. Both places are shown; rename one."
    E0708 ScenarioNone Error "no scenarios"
        "The directory has no file that ends in `.yaml` or `.yml`, nor have the directories in it, or a file is empty. \
         Nothing to check is never taken for success."
    E0709 ScenarioTime Error "invalid duration in a scenario"
        "Lengths of time are numbers with units, such as `300ms`, `1.5s` or `1m30s`. A bare number is refused, because \
         nobody can tell whether it means seconds or milliseconds."
    E0710 ScenarioValue Error "invalid value in a scenario"
        "The value has the right type but cannot be used: an unknown HTTP method, a negative weight, a file path that is \
         not absolute."
    E0711 ScenarioCapture Error "invalid capture"
        "A capture keeps a part of an answer: `jsonpath`, `source`, or both. The sources are, of `request`: `status`, `body` and \
         `header:NAME`; of `exec`: `stdout`, `stderr` and `exitcode`; of `browser`: `text`, `html`, `url` (or `location`), `title`, \
         `value`, `visible`, `count`, `tree`, `console` and `dialogs`; of `grpc`: `status`, `message`, `body`, `headers`, \
         `trailers`, `header:NAME` and `trailer:NAME`; of `ws`: `messages`, `count`, `close`, `reason`, `protocol`, `status` and \
         `header:NAME`; of `tui`: `screen`, `exit_code` and `title`. `parallel` has JSON alone."
    E0712 ScenarioPath Error "invalid JSONPath"
        "Paths follow RFC 9535: `$.items[0].id`, `$.items[?@.done].id`; keys that are no identifiers are quoted: \
         `$['a b']`."
    E0713 ScenarioPattern Error "invalid pattern or schema"
        "`matches` takes a regular expression (without look-around and back-references), `schema` a JSON Schema of draft \
         2020-12. The message says what is wrong with it."
    E0714 ScenarioAssert Error "invalid assertion"
        "The assertion asks for something that this kind of step does not have, such as the `exit_code` of a request, or \
         names no known comparison."
    E0715 ScenarioFile Error "unreadable scenario file"
        "The file is there but could not be read, or is no UTF-8 text. Save it as UTF-8 and check its permissions. A file that \
         a scenario names (`{ file: NAME }`) must lie in the directory of the scenario file or below it, and no part of the \
         name may be a link."
    E0716 ScenarioFixture Error "missing fixture"
        "A scenario names a fixture, and no directory `fixtures` among the scenarios has a file of that name. The help \
         names the nearest one."
    E0717 ScenarioNeverSet Error "placeholder that can never have a value"
        "`{name}` is in a request or an expectation, and nothing sets a value of this name: no step captures it, and it is \
         not a variable of the scenario, its rows, its fixtures or the command line. Fix the name, capture the value, give it \
         with `--variable NAME=VALUE` (in a pipeline: `given` of `scenario_load`), or write `\\{name}` for the text itself."
    E0718 ScenarioDocuments Error "more than one document in a scenario file"
        "A file has one scenario; a second YAML document behind `---` would not be run. Put it into a file of its own."
    E0801 Environment Error "invalid environment"
        "`environment.toml` says what runs beside a program. The message says which key or value cannot be used; \
         `schemas/environment.json` lists all of them."
    W0201 UnusedInput Warning "unused input"
    W0202 UnusedFunction Warning "unused function"
    W0301 ConstantCondition Warning "constant condition"
    W0401 CacheBlind Warning "cached step without declared input files"
    W0402 SharedOutput Warning "one recorded output for all items"
    W0403 Refused Warning "value that fails with the current settings"
    W0404 SharedProducts Warning "cached steps that produce the same files"
    W0501 NeverFalse Warning "status check with a constant result"
    W0502 NeverReached Warning "time limit that is never reached"
    W0503 InsideUnbound Warning "key without effect on inner steps"
    W0701 ScenarioUnset Warning "placeholder without a value"
        "`{name}` stands for a variable or a captured value, and no earlier step captures one of that name. A step is not \
         carried out if a placeholder in it has no value: it fails, and nothing is sent. Only in commands, patterns and \
         expectations does the text stay as it is written. Capture the value in an earlier step, fix the name, or write \
         `\\{name}` for the text itself."
    W0703 ScenarioBraces Warning "double braces around a placeholder"
        "`{{name}}` is read as `{name}`. Write single braces, so that other tools read the file the same way."
    W0704 ScenarioShadow Warning "capture that hides an earlier one"
        "Two steps capture the same name; later steps see the later value only."
    W0705 ScenarioUnjudged Warning "step without an expectation"
        "The step has neither `expect` nor `assert`, so that nobody can say whether it went well. Say what is expected, or \
         move the step to `setup`."
    W0706 ScenarioData Warning "data file that looks like a scenario"
        "Another scenario names this file (`{ file: NAME }`), so it need not be a scenario. But it has steps under a key other \
         than `steps`, which would make it a scenario that is never run. Fix the key, or move the file into a directory \
         whose files are no scenarios."
    S001 SpecEmpty Error "empty specification"
        "A specification says what the software does; an empty one leaves everything to chance."
    S002 SpecTitle Error "specification without a title"
        "The first heading, `# Name`, says what the software is. Without it nothing else of the file is looked \
         at."
    S003 SpecSummary Warning "missing summary below the title"
        "One paragraph under the title says what the software is for."
    S004 SpecSection Warning "empty section"
        "A section with neither text nor sections of its own says nothing."
    S005 SpecTwice Warning "duplicate section heading"
        "Two headings of the same level and text under one title make it unclear which of them holds."
    S006 SpecFence Warning "unclosed code block"
        "Everything behind an opening fence is code until a closing one; without that the rest of the file is no \
         text."
    SC001 LintEmpty Error "empty scenario file"
        "A scenario file holds one scenario."
    SC002 LintYaml Error "invalid YAML"
        "The message says what was expected, the place is where reading stopped."
    SC004 LintRoot Error "scenario file that is not a mapping"
        "A scenario is a mapping with the keys `id` and `steps`."
    SC005 LintIdMissing Error "scenario without an `id`"
        "Results and other tools name a scenario by its `id`."
    SC006 LintIdEmpty Error "empty `id`"
        "Results and other tools name a scenario by its `id`."
    SC007 LintId Error "invalid `id`"
        "Ids have lower-case letters, digits, `-` and `_`, and begin with a letter or digit."
    SC008 LintType Warning "unknown `type`"
        "`type` is `api` or `functional`; nothing depends on it."
    SC009 LintWeightNumber Warning "`weight` that is not a number"
        "`weight` says how much a scenario counts among others."
    SC010 LintWeight Warning "`weight` that is not positive"
        "A scenario of weight zero counts for nothing."
    SC011 LintStepsMissing Error "scenario without steps"
        "Without steps nothing is looked at."
    SC012 LintSteps Error "`steps` that is not a list or is empty"
        "`steps` is a list with at least one entry."
    SC013 LintSetup Error "`setup` that is not a list"
        "`setup` is a list of steps."
    SC014 LintStep Error "step that is not a mapping"
        "A step is a mapping with one action."
    SC015 LintAction Error "step without an action"
        "A step has one of the actions `request exec browser grpc ws tui parallel`."
    SC016 LintExpect Warning "step without an expectation"
        "Say in `expect` what should come of it, or decide it with `assert`."
    SC017 LintDescription Warning "step without a description"
        "Whoever reads a result, people and judges, knows a step by its description."
    SC018 LintRequest Error "`request` that is not a mapping"
        "`request` is a mapping with `method` and `path`."
    SC019 LintMethodMissing Error "request without a method"
        "`method` is one of GET POST PUT PATCH DELETE HEAD OPTIONS."
    SC020 LintMethod Error "unknown method"
        "`method` is one of GET POST PUT PATCH DELETE HEAD OPTIONS."
    SC021 LintPath Error "request without a path"
        "`path` is joined to the target."
    SC022 LintCaptures Error "`capture` that is not a list"
        "`capture` is a list."
    SC023 LintCapture Error "capture that is not a mapping"
        "A capture has `name` and `jsonpath`, `source`, or both."
    SC024 LintCaptureName Error "capture without a name"
        "Later steps know a captured value by its name."
    SC025 LintCaptureEmpty Error "capture with an empty name"
        "Later steps know a captured value by its name."
    SC026 LintCaptureWord Error "invalid capture name"
        "Names have letters, digits and `_`, and do not begin with a digit."
    SC027 LintShadow Warning "capture that hides an earlier one"
        "Later steps see the later value only."
    SC028 LintCaptureWhat Error "capture without `jsonpath` and `source`"
        "A capture has `jsonpath`, `source`, or both."
    SC029 LintPathForm Error "invalid JSONPath"
        "Paths begin with `$` and follow RFC 9535."
    SC030 LintUnset Warning "placeholder without a value"
        "No earlier step captures that name, so the text is sent as it is written."
    SC031 LintTwice Error "duplicate scenario id"
        "Each id may be used once in a directory."
    SC032 LintActions Error "step with more than one action"
        "A step does one thing. Make two steps of it."
    SC033 LintExec Error "`exec` that is not a mapping"
        "`exec` is a mapping with `command`."
    SC034 LintCommandMissing Error "`exec` without a command"
        "`command` is run by `sh -c`."
    SC035 LintCommand Error "empty command of `exec`"
        "`command` is run by `sh -c`."
    SC036 LintEnv Error "`env` that is not a mapping"
        "`env` is a mapping of names to values."
    SC037 LintExecTimeout Error "invalid timeout of `exec`"
        "`timeout` is a number with a unit, such as `30s`."
    SC038 LintSource Error "unknown source of a capture"
        "The help lists the sources of the step type."
    SC039 LintNoSource Error "source of a capture on a step type without sources"
        "The help lists the sources of the step type."
    SC040 LintBrowser Error "`browser` that is not a mapping"
        "`browser` is a mapping with `action`."
    SC041 LintBrowserMissing Error "`browser` without an action"
        "`action` says what is done in the browser."
    SC042 LintBrowserAction Error "unknown browser action"
        "The help lists the actions."
    SC043 LintNavigate Error "`navigate` without a URL"
        "`url` is joined to the target."
    SC044 LintClick Error "`click` without a selector"
        "`selector` says what is clicked."
    SC045 LintFill Error "`fill` without a selector"
        "`selector` says what is filled."
    SC046 LintFillValue Error "`fill` without a value"
        "`value` is what is typed."
    SC047 LintAssert Error "`assert` without a selector"
        "`selector` says what is looked at."
    SC048 LintAssertWhat Warning "`assert` that checks nothing"
        "Give it `text`, `text_absent`, `count`, or an `assert` block."
    SC049 LintBrowserTimeout Error "invalid timeout of `browser`"
        "`timeout` is a number with a unit, such as `10s`."
    SC050 LintGrpc Error "`grpc` that is not a mapping"
        "`grpc` is a mapping with `service` and `method`, or `stream`."
    SC051 LintService Error "gRPC call without a service"
        "`service` is the full name of a service, unless a stream goes on."
    SC052 LintGrpcMethod Error "gRPC call without a method"
        "`method` is the name of a method of the service, unless a stream goes on."
    SC053 LintGrpcTimeout Error "invalid timeout of `grpc`"
        "`timeout` is a number with a unit, such as `30s`."
    SC054 LintMessages Error "`stream.messages` that is not a list"
        "`stream.messages` is a list of messages."
    SC055 LintReceive Error "invalid timeout of `stream.receive`"
        "`stream.receive.timeout` is a number with a unit, such as `5s`."
    SC060 LintWs Error "`ws` that is not a mapping"
        "`ws` is a mapping with `url`, `send`, `receive`."
    SC061 LintWsUrl Warning "WebSocket connection without a URL"
        "The first step of a connection has a `url`."
    SC062 LintWsTimeout Error "invalid timeout of `receive`"
        "`receive.timeout` is a number with a unit, such as `5s`."
    SC063 LintWsCount Error "`count` that is not positive"
        "`receive.count` says how many messages are waited for."
    SC070 LintTui Error "`tui` that is not a mapping"
        "`tui` is a mapping."
    SC071 LintTuiNothing Error "`tui` without an action"
        "Give it `command`, `send_key`, `send_text`, `wait_for`, `assert_screen` or `assert_absent`."
    SC072 LintTuiCommand Error "empty command of `tui`"
        "`command` is run by `sh -c` under a terminal."
    SC073 LintTuiTimeout Error "invalid timeout of `tui`"
        "`timeout` is a number with a unit, such as `5s`."
    SC101 LintVacuous Warning "scenario that a trivial program satisfies"
        "A program that answers everything with an empty 404, or with an empty 200, or exits at once, would \
         satisfy every assertion of it. Assert something that only the right program does."
    SC102 LintUnreachable Warning "step that is never run"
        "The pauses before it take longer than the `timeout` of the scenario."
    SC103 LintSecret Error "secret in a scenario"
        "Scenarios are read by models and kept with runs. Give the value in a variable, and take the secret out \
         of the file's history."
}

impl Code {
    /// The code with that number, in any case.
    pub fn parse(number: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.number().eq_ignore_ascii_case(number))
    }
}

/// The section of `explanations.md` with that number, where nothing stands beside the code itself.
fn section(number: &str, beside: &'static str) -> &'static str {
    if !beside.is_empty() {
        return beside;
    }
    let text = include_str!("explanations.md");
    let found = text.split("\n## ").find_map(|section| section.strip_prefix(number));
    found.unwrap_or_default().trim()
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.number())
    }
}
