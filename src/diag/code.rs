use std::fmt;

use super::Severity;

macro_rules! codes {
    ($($code:ident $name:ident $severity:ident $title:literal $($explanation:literal)?)+) => {
        /// Every kind of diagnostic. Numbers are never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $title] $name,)+
        }

        impl Code {
            /// All codes, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Number, e.g. `E0203`.
            pub fn number(self) -> &'static str {
                match self { $(Self::$name => stringify!($code),)+ }
            }

            /// Title, in one line.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }

            /// Meaning, example and fix, for `atoll explain`.
            pub fn explanation(self) -> &'static str {
                match self {
                    $(Self::$name => section(stringify!($code), concat!("" $(, $explanation)?)),)+
                }
            }

            /// Severity of the diagnostic.
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)+ }
            }
        }
    };
}

// E00 files and TOML · E01 structure of a pipeline · E02 names and references · E03 expressions and templates ·
// E04 verbs and schemas · E05 control and graph · E06 inputs · E07 scenarios · N notes and W warnings of the same groups.
codes! {
    E0001 Syntax Error "invalid TOML"
    E0002 PipelineMissing Error "unknown pipeline"
    E0003 Unreadable Error "unreadable file"
    E0004 BadSetting Error "invalid argument of `--set`"
    E0005 ExtendsCycle Error "circular `extends`"
    E0006 NothingToRemove Error "removal of an unknown entry"
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
    E0210 HiddenItem Error "name that hides another one"
    E0211 InsideBody Error "reference to a step inside another body"
    E0301 ExpressionSyntax Error "syntax error in an expression"
    E0302 TemplateSyntax Error "syntax error in a template"
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
    E0414 CachedTime Error "time in the input of a cached step"
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
    E0513 OpenChain Error "`??` without a last value"
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
        "The file cannot be parsed as YAML. The message says what the parser expected. The location shows \
         where it stopped. Often the cause is on an earlier line: a closing quote or bracket is missing, \
         or a text that contains `: ` has no quotes."
    E0702 ScenarioKey Error "unknown key in a scenario"
        "Atoll rejects unknown keys. Otherwise it would silently ignore a misspelt `expect` or `retry`. \
         The help names the nearest known key."
    E0703 ScenarioShape Error "wrong type of value in a scenario"
        "A value has the wrong type: it is a list, a mapping, text or a number, and another type is \
         expected. Example: `steps:` without dashes. Change the value to the expected type, which the \
         message names."
    E0704 ScenarioMissing Error "incomplete scenario"
        "A required key is missing. A scenario needs `id` and at least one step. A request needs `method` \
         and `path`, a command needs `command`, a capture needs `name`. Add the missing key."
    E0706 ScenarioAction Error "step without exactly one action"
        "Each step does exactly one thing. It has exactly one of the keys `request`, `exec`, `browser`, \
         `grpc`, `ws`, `tui` and `parallel`. Split a step that has two of them."
    E0707 ScenarioTwice Error "duplicate scenario id"
        "Results identify scenarios by id, so each id may be used only once in a directory. The message \
         shows both locations. Rename one of the ids."
    E0708 ScenarioNone Error "no scenarios"
        "Neither the directory nor its subdirectories contain a file that ends in `.yaml` or `.yml`, or a \
         file is empty. Atoll never counts a check without scenarios as a success."
    E0709 ScenarioTime Error "invalid duration in a scenario"
        "Durations are numbers with units, such as `300ms`, `1.5s` or `1m30s`. Atoll rejects a number \
         without a unit, because it could mean seconds or milliseconds. Add a unit."
    E0710 ScenarioValue Error "invalid value in a scenario"
        "The value has the right type but is not allowed here. Examples: an unknown HTTP method, a \
         negative weight, a file path that is not absolute. The message says what is wrong."
    E0711 ScenarioCapture Error "invalid capture"
        "A capture stores a part of an answer. It needs `jsonpath`, `source`, or both. The available \
         sources depend on the action of the step:\n\n\
         - `request`: `status`, `body` and `header:NAME`\n\
         - `exec`: `stdout`, `stderr` and `exitcode`\n\
         - `browser`: `text`, `html`, `url` (or `location`), `title`, `value`, `visible`, `count`, \
         `tree`, `console` and `dialogs`\n\
         - `grpc`: `status`, `message`, `body`, `headers`, `trailers`, `header:NAME` and `trailer:NAME`\n\
         - `ws`: `messages`, `count`, `close`, `reason`, `protocol`, `status` and `header:NAME`\n\
         - `tui`: `screen`, `exit_code` and `title`\n\
         - `parallel`: none, only `jsonpath`"
    E0712 ScenarioPath Error "invalid JSONPath"
        "JSONPaths follow RFC 9535, for example `$.items[0].id` or `$.items[?@.done].id`. Quote keys that \
         are not identifiers: `$['a b']`."
    E0713 ScenarioPattern Error "invalid pattern or schema"
        "`matches` takes a regular expression (without look-around and back-references). `schema` takes a \
         JSON Schema of draft 2020-12. The message says what is wrong with it."
    E0714 ScenarioAssert Error "invalid assertion"
        "The assertion asks for something that this type of step does not have, such as the `exit_code` \
         of a request. Or it does not name a known comparison."
    E0715 ScenarioFile Error "unreadable scenario file"
        "The file exists but cannot be read, or it is not UTF-8 text. Check its permissions and save it \
         as UTF-8. A file that a scenario names (`{ file: NAME }`) must be in the directory of the \
         scenario file or below it. No part of the name may be a symbolic link."
    E0716 ScenarioFixture Error "missing fixture"
        "A scenario names a fixture that does not exist: no `fixtures` directory among the scenarios has \
         a file with that name. The help names the nearest fixture."
    E0717 ScenarioNeverSet Error "placeholder that can never have a value"
        "A request or an expectation contains `{name}`, but nothing sets a value with this name. No step \
         captures it. It is not a variable of the scenario, its rows, its fixtures or the command line. \
         Fix the name, capture the value, or pass it with `--variable NAME=VALUE` (in a pipeline: `given` \
         of `scenario_load`). For the literal text, write `\\{name}`."
    E0718 ScenarioDocuments Error "more than one document in a scenario file"
        "Each file contains one scenario. Atoll would not run a second YAML document after `---`. Move it \
         to a separate file."
    E0801 Environment Error "invalid environment"
        "`environment.toml` declares the services that run next to a program. The message says which key \
         or value is not valid. `schemas/environment.json` lists all keys and values."
    N0401 VerbReplaced Note "replaced verb"
    W0201 UnusedInput Warning "unused input"
    W0202 UnusedFunction Warning "unused function"
    W0203 UnusedDefault Warning "default without effect"
    W0204 UnusedLet Warning "unused entry of `let`"
    W0301 ConstantCondition Warning "constant condition"
    W0302 NumberCondition Warning "number as a condition"
    W0401 CacheBlind Warning "cached step without declared input files"
    W0402 SharedOutput Warning "one recorded output for all items"
    W0403 Refused Warning "value that fails with the current settings"
    W0404 SharedProducts Warning "cached steps that produce the same files"
    W0502 NeverReached Warning "time limit that is never reached"
    W0503 InsideUnbound Warning "key without effect on inner steps"
    W0504 NoExitCode Warning "status of a loop without an exit code"
    W0701 ScenarioUnset Warning "placeholder without a value"
        "`{name}` is a placeholder for a variable or a captured value, but no earlier step captures a \
         value with this name. If a placeholder in a step has no value, the step fails and sends nothing. \
         Only in commands, patterns and expectations does the text stay unchanged. Capture the value in \
         an earlier step or fix the name. For the literal text, write `\\{name}`."
    W0703 ScenarioBraces Warning "double braces around a placeholder"
        "Atoll reads `{{name}}` as `{name}`. Write single braces, so that other tools read the file in \
         the same way."
    W0704 ScenarioShadow Warning "capture that hides an earlier one"
        "Two steps capture a value with the same name. Later steps see only the second value. Rename one \
         of the captures if you need both."
    W0705 ScenarioUnjudged Warning "step without an expectation"
        "The step has neither `expect` nor `assert`, so its result cannot be judged. Add what you expect, \
         or move the step to `setup`."
    W0706 ScenarioData Warning "data file that looks like a scenario"
        "Another scenario names this file (`{ file: NAME }`), so it does not have to be a scenario. But \
         it has steps under a key other than `steps`. If it is meant as a scenario, it is never run. Fix \
         the key, or move the file to a directory whose files are not scenarios."
    S001 SpecEmpty Error "empty specification"
        "A specification describes what the software does. An empty one leaves everything open. Write at \
         least a title and a summary."
    S002 SpecTitle Error "specification without a title"
        "The first heading, `# Name`, says what the software is. Without it, Atoll does not check the \
         headings of the file. Add a title at the beginning."
    S003 SpecSummary Warning "missing summary below the title"
        "Add one paragraph below the title that says what the software is for."
    S004 SpecSection Warning "empty section"
        "The section has neither text nor subsections. Fill it or delete it."
    S005 SpecTwice Warning "duplicate section heading"
        "Two headings have the same level and the same text, so it is unclear which section applies. \
         Rename one of them or merge the sections."
    S006 SpecFence Warning "unclosed code block"
        "Everything after an opening fence is code until the closing fence. Without a closing fence, the \
         rest of the file is read as code. Add the closing fence."
    SC001 LintEmpty Error "empty scenario file"
        "A scenario file must contain one scenario. Write a scenario or delete the file."
    SC002 LintYaml Error "invalid YAML"
        "The message says what the parser expected. The location shows where it stopped."
    SC004 LintRoot Error "scenario file that is not a mapping"
        "A scenario is a mapping with the keys `id` and `steps`."
    SC005 LintIdMissing Error "scenario without an `id`"
        "Results and other tools identify a scenario by its `id`. Add one."
    SC006 LintIdEmpty Error "empty `id`"
        "Results and other tools identify a scenario by its `id`. Enter one."
    SC007 LintId Error "invalid `id`"
        "Ids consist of lower-case letters, digits, `-` and `_`. They begin with a letter or a digit."
    SC008 LintType Warning "unknown `type`"
        "`type` is `api` or `functional`. The value has no effect."
    SC009 LintWeightNumber Warning "`weight` that is not a number"
        "`weight` is a number. It says how much a scenario counts compared with the others."
    SC010 LintWeight Warning "`weight` that is not positive"
        "A scenario with weight zero does not count. Use a number above zero."
    SC011 LintStepsMissing Error "scenario without steps"
        "A scenario without steps checks nothing. Add `steps`."
    SC012 LintSteps Error "`steps` that is not a list or is empty"
        "`steps` is a list with at least one entry."
    SC013 LintSetup Error "`setup` that is not a list"
        "`setup` is a list of steps."
    SC014 LintStep Error "step that is not a mapping"
        "A step is a mapping with one action."
    SC015 LintAction Error "step without an action"
        "A step has one of the actions `request exec browser grpc ws tui parallel`."
    SC016 LintExpect Warning "step without an expectation"
        "Describe the expected result in `expect`, or check it with `assert`."
    SC017 LintDescription Warning "step without a description"
        "People and judges who read a result identify a step by its description. Add one."
    SC018 LintRequest Error "`request` that is not a mapping"
        "`request` is a mapping with `method` and `path`."
    SC019 LintMethodMissing Error "request without a method"
        "`method` is one of GET POST PUT PATCH DELETE HEAD OPTIONS."
    SC020 LintMethod Error "unknown method"
        "`method` is one of GET POST PUT PATCH DELETE HEAD OPTIONS."
    SC021 LintPath Error "request without a path"
        "Atoll appends `path` to the target. Add it."
    SC022 LintCaptures Error "`capture` that is not a list"
        "`capture` is a list."
    SC023 LintCapture Error "capture that is not a mapping"
        "A capture is a mapping. It has `name` and `jsonpath`, `source`, or both."
    SC024 LintCaptureName Error "capture without a name"
        "Later steps refer to a captured value by its name. Add `name`."
    SC025 LintCaptureEmpty Error "capture with an empty name"
        "Later steps refer to a captured value by its name. Enter a name."
    SC026 LintCaptureWord Error "invalid capture name"
        "Names consist of letters, digits and `_`. They do not begin with a digit."
    SC027 LintShadow Warning "capture that hides an earlier one"
        "Later steps see only the later value. Rename one of the captures if you need both."
    SC028 LintCaptureWhat Error "capture without `jsonpath` and `source`"
        "A capture has `jsonpath`, `source`, or both."
    SC029 LintPathForm Error "invalid JSONPath"
        "JSONPaths begin with `$` and follow RFC 9535."
    SC030 LintUnset Warning "placeholder without a value"
        "No earlier step captures a value with this name. If the placeholder has no value when the step \
         runs, the step fails and sends nothing. Only in commands, patterns and expectations does the \
         text stay unchanged. `atoll explain W0701` says more."
    SC031 LintTwice Error "duplicate scenario id"
        "Each id may be used only once in a directory. Rename one of them."
    SC032 LintActions Error "step with more than one action"
        "A step does one thing. Split it into two steps."
    SC033 LintExec Error "`exec` that is not a mapping"
        "`exec` is a mapping with `command`."
    SC034 LintCommandMissing Error "`exec` without a command"
        "`sh -c` runs `command`. Add it."
    SC035 LintCommand Error "empty command of `exec`"
        "`sh -c` runs `command`. Enter a command line."
    SC036 LintEnv Error "`env` that is not a mapping"
        "`env` is a mapping of names to values."
    SC037 LintExecTimeout Error "invalid timeout of `exec`"
        "`timeout` is a number with a unit, such as `30s`."
    SC038 LintSource Error "unknown source of a capture"
        "The help names the nearest source, or lists the sources of this step type."
    SC039 LintNoSource Error "source of a capture on a step type without sources"
        "This step type has no sources. Use `jsonpath` alone."
    SC040 LintBrowser Error "`browser` that is not a mapping"
        "`browser` is a mapping with `action`."
    SC041 LintBrowserMissing Error "`browser` without an action"
        "`action` says what the browser does. Add it."
    SC042 LintBrowserAction Error "unknown browser action"
        "The help names the nearest action, or lists the actions."
    SC043 LintNavigate Error "`navigate` without a URL"
        "Atoll appends `url` to the target. Add it."
    SC044 LintClick Error "`click` without a selector"
        "`selector` says which element to click. Add it."
    SC045 LintFill Error "`fill` without a selector"
        "`selector` says which field to fill. Add it."
    SC046 LintFillValue Error "`fill` without a value"
        "`value` is the text to type. Add it."
    SC047 LintAssert Error "`assert` without a selector"
        "`selector` says which element to check. Add it."
    SC048 LintAssertWhat Warning "`assert` that checks nothing"
        "Add `text`, `text_absent`, `count`, or an `assert` block."
    SC049 LintBrowserTimeout Error "invalid timeout of `browser`"
        "`timeout` is a number with a unit, such as `10s`."
    SC050 LintGrpc Error "`grpc` that is not a mapping"
        "`grpc` is a mapping with `service` and `method`, or `stream`."
    SC051 LintService Error "gRPC call without a service"
        "`service` is the full name of a service. It is required unless the step continues a stream."
    SC052 LintGrpcMethod Error "gRPC call without a method"
        "`method` is the name of a method of the service. It is required unless the step continues a \
         stream."
    SC053 LintGrpcTimeout Error "invalid timeout of `grpc`"
        "`timeout` is a number with a unit, such as `30s`."
    SC054 LintMessages Error "`stream.messages` that is not a list"
        "`stream.messages` is a list of messages."
    SC055 LintReceive Error "invalid timeout of `stream.receive`"
        "`stream.receive.timeout` is a number with a unit, such as `5s`."
    SC060 LintWs Error "`ws` that is not a mapping"
        "`ws` is a mapping with `url`, `send`, `receive`."
    SC061 LintWsUrl Warning "WebSocket connection without a URL"
        "The first step that uses a connection needs a `url`."
    SC062 LintWsTimeout Error "invalid timeout of `receive`"
        "`receive.timeout` is a number with a unit, such as `5s`."
    SC063 LintWsCount Error "`count` that is not positive"
        "`receive.count` is the number of messages to wait for. It is a whole number above zero."
    SC070 LintTui Error "`tui` that is not a mapping"
        "`tui` is a mapping."
    SC071 LintTuiNothing Error "`tui` without an action"
        "Add `command`, `send_key`, `send_text`, `wait_for`, `assert_screen` or `assert_absent`."
    SC072 LintTuiCommand Error "empty command of `tui`"
        "`sh -c` runs `command` in a terminal. Enter a command line."
    SC073 LintTuiTimeout Error "invalid timeout of `tui`"
        "`timeout` is a number with a unit, such as `5s`."
    SC101 LintVacuous Warning "scenario that a trivial program satisfies"
        "A trivial program satisfies every assertion of this scenario. Such a program answers everything \
         with an empty 404 or an empty 200, or exits at once. Add an assertion that only the correct \
         program satisfies."
    SC102 LintUnreachable Warning "step that is never run"
        "The pauses before this step use up the `timeout` of the scenario, so the step never runs. \
         Shorten the pauses or raise the `timeout`."
    SC103 LintSecret Error "secret in a scenario"
        "Models read scenarios, and Atoll stores scenarios with runs. Do not write secrets in them: pass the \
         value in a variable. Remove the secret from the file and from its version history."
}

impl Code {
    /// The code with that number, in any case.
    pub fn parse(number: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.number().eq_ignore_ascii_case(number))
    }
}

/// The section of `explanations.md` with that number, if the code has no explanation here.
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
