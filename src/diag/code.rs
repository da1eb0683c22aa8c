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
    E0001 Syntax Error "the file is no valid TOML"
    E0002 PipelineMissing Error "there is no such pipeline"
    E0003 Unreadable Error "a file cannot be read"
    E0004 BadSetting Error "`--set` needs PATH=VALUE"
    E0005 ExtendsCycle Error "pipelines extend each other in a circle"
    E0006 NothingToRemove Error "there is no such step to remove"
    E0101 LanguageVersion Error "the language version is missing or unknown"
    E0102 UnknownKey Error "a key that means nothing here"
    E0103 WrongType Error "a value of the wrong type"
    E0104 MissingKey Error "a key is missing"
    E0105 BadName Error "not usable as a name"
    E0106 NoSteps Error "a pipeline or body without steps"
    E0107 BadDuration Error "not a span of time"
    E0108 UnknownWord Error "not one of the known words"
    E0109 BadRange Error "a number out of range"
    E0110 UnknownLabel Error "a label that is not declared"
    E0201 UnknownName Error "a name that is never in scope"
    E0202 UnknownStep Error "a step that does not exist"
    E0203 UnknownInput Error "an input that is not declared"
    E0204 ShadowedStep Error "two steps of one name on the same path"
    E0205 UnknownStepField Error "steps do not have this field"
    E0206 UnknownField Error "a field that does not exist"
    E0207 UnknownOutputField Error "an output that never has this field"
    E0208 NotHere Error "a name that is not in scope here"
    E0209 DynamicStep Error "steps must be named outright"
    E0210 HiddenItem Error "an inner item hides an outer one"
    E0211 InsideBody Error "a step that is inside another body"
    E0301 ExpressionSyntax Error "not an expression"
    E0302 TemplateSyntax Error "not a template"
    E0303 NotCondition Error "a condition that is neither true nor false"
    E0304 UnknownFilter Error "a filter, test or function that does not exist"
    E0305 LetCycle Error "names of `let` depend on each other in a circle"
    E0306 FunctionMisuse Error "a function or filter used wrongly"
    E0307 BracesInExpression Error "an expression with braces around it"
    E0308 MixedTypes Error "values of a kind that an operation can never work with"
    E0401 NoVerb Error "a step that does nothing"
    E0402 TwoVerbs Error "a step that does two things"
    E0403 UnknownVerb Error "a verb that does not exist"
    E0404 UnknownVerbKey Error "a key that the verb does not take"
    E0405 VerbKeyType Error "a value that the verb cannot use"
    E0406 MissingVerbKey Error "the verb lacks a key that it needs"
    E0407 BadSchema Error "no usable JSON Schema"
    E0408 UnknownResource Error "a resource that does not exist"
    E0409 HoldOne Error "`hold` needs exactly one resource"
    E0410 TextMissing Error "a file that the pipeline names does not exist"
    E0411 NoEffect Error "a key that has no effect"
    E0412 VaryingFile Error "a file that is not known before the run"
    E0413 UnknownLane Error "a lane that does not exist"
    E0501 Cycle Error "steps wait for each other in a circle"
    E0502 SelfRead Error "a step that reads itself"
    E0503 BodyMisplaced Error "only control verbs have a body"
    E0504 LoopBound Error "a loop without a bound"
    E0505 UnknownState Error "a state that is not declared"
    E0506 CallCycle Error "pipelines call each other in a circle"
    E0507 CallUnknownInput Error "an input that the called pipeline does not have"
    E0508 CallMissingInput Error "the called pipeline needs an input"
    E0509 ToleratesOuter Error "an inner step cannot tolerate an outer one"
    E0510 OnPause Error "a step that cannot run at a pause"
    E0511 EqualKeys Error "two items with the same key"
    E0512 Always Error "a step that cannot run when everything has ended"
    E0601 InputUnknown Error "the pipeline has no such input"
    E0602 InputMissing Error "a required input is missing"
    E0603 InputType Error "an input of the wrong type"
    E0604 InputRange Error "an input out of range"
    E0605 InputWord Error "an input that is not one of the choices"
    E0606 InputUnreadable Error "an input file or directory cannot be read"
    E0607 InputEmpty Error "an input file is empty"
    E0608 InputDeclaration Error "an input is declared wrongly"
    E0609 InputModel Error "an input names a model that nobody knows"
    E0610 InputRefused Error "inputs that do not go together"
    E0611 InputSecret Error "a secret given as a value"
    E0612 SecretAsText Error "the name of a secret used as its value"
    E0701 ScenarioSyntax Error "the scenario file is no valid YAML"
        "The file could not be read as YAML; the message says what was expected and the place is where reading stopped. \
         Often a line above it lacks a closing quote or bracket, or text with `: ` in it needs quotes."
    E0702 ScenarioKey Error "a key that scenarios do not have"
        "Unknown keys are refused, because a misspelt `expect` or `retry` would otherwise be left out without a word. \
         The help names the nearest known key."
    E0703 ScenarioShape Error "a value of the wrong type in a scenario"
        "A list, a mapping, text or a number stands where something else is expected, e.g. `steps:` without dashes."
    E0704 ScenarioMissing Error "a scenario lacks something it needs"
        "A scenario needs `id` and at least one step; a request needs `method` and `path`, a command needs `command`, a \
         capture needs `name`."
    E0706 ScenarioAction Error "a step without an action, or with more than one"
        "Each step does exactly one thing: it has one of the keys `request`, `exec`, `browser`, `grpc`, `ws`, `tui` and \
         `parallel`. Split a step that has two."
    E0707 ScenarioTwice Error "two scenarios with the same id"
        "Ids name scenarios in results, so each may be used once in a directory. Both places are shown; rename one."
    E0708 ScenarioNone Error "no scenarios"
        "The directory has no file that ends in `.yaml` or `.yml`, nor have the directories in it, or a file is empty. \
         Nothing to check is never taken for success."
    E0709 ScenarioTime Error "no length of time"
        "Lengths of time are numbers with units, such as `300ms`, `1.5s` or `1m30s`. A bare number is refused, because \
         nobody can tell whether it means seconds or milliseconds."
    E0710 ScenarioValue Error "a value that is out of range"
        "The value has the right type but cannot be used: an unknown HTTP method, a negative weight, a file path that is \
         not absolute."
    E0711 ScenarioCapture Error "a capture that cannot work"
        "A capture keeps a part of an answer: `jsonpath`, `source`, or both. The sources are, of `request`: `status`, `body` and \
         `header:NAME`; of `exec`: `stdout`, `stderr` and `exitcode`; of `browser`: `text`, `html`, `url` (or `location`), `title`, \
         `value`, `visible`, `count`, `tree`, `console` and `dialogs`; of `grpc`: `status`, `message`, `body`, `headers`, \
         `trailers`, `header:NAME` and `trailer:NAME`; of `ws`: `messages`, `count`, `close`, `reason`, `protocol`, `status` and \
         `header:NAME`; of `tui`: `screen`, `exit_code` and `title`. `parallel` has JSON alone."
    E0712 ScenarioPath Error "no JSONPath"
        "Paths follow RFC 9535: `$.items[0].id`, `$.items[?@.done].id`; keys that are no identifiers are quoted: \
         `$['a b']`."
    E0713 ScenarioPattern Error "a pattern or schema that does not compile"
        "`matches` takes a regular expression (without look-around and back-references), `schema` a JSON Schema of draft \
         2020-12. The message says what is wrong with it."
    E0714 ScenarioAssert Error "an assertion that cannot be decided"
        "The assertion asks for something that this kind of step does not have, such as the `exit_code` of a request, or \
         names no known comparison."
    E0715 ScenarioFile Error "a scenario file that cannot be read"
        "The file is there but could not be read, or is no UTF-8 text. Save it as UTF-8 and check its permissions. A file that \
         a scenario names (`{ file: NAME }`) must lie in the directory of the scenario file or below it, and no part of the \
         name may be a link."
    E0716 ScenarioFixture Error "a fixture that is not there"
        "A scenario names a fixture, and no directory `fixtures` among the scenarios has a file of that name. The help \
         names the nearest one."
    E0717 ScenarioNeverSet Error "a placeholder that can never have a value"
        "`{name}` is in a request or an expectation, and nothing sets a value of this name: no step captures it, and it is \
         not a variable of the scenario, its rows, its fixtures or the command line. Fix the name, capture the value, give it \
         with `--variable NAME=VALUE` (in a pipeline: `given` of `scenario_load`), or write `\\{name}` for the text itself."
    E0718 ScenarioDocuments Error "more than one document in a scenario file"
        "A file has one scenario; a second YAML document behind `---` would not be run. Put it into a file of its own."
    E0801 Environment Error "an environment that cannot be meant"
        "`environment.toml` says what runs beside a program. The message says which key or value cannot be used; \
         `schemas/environment.json` lists all of them."
    W0201 UnusedInput Warning "an input that nothing reads"
    W0202 UnusedFunction Warning "a function that nothing calls"
    W0301 ConstantCondition Warning "a condition that is always the same"
    W0401 CacheBlind Warning "a cache that does not know what its step reads"
    W0402 SharedOutput Warning "one recorded output for all items"
    W0403 Refused Warning "a value that the step would refuse with these settings"
    W0404 SharedProducts Warning "two steps that produce the same files"
    W0501 NeverFalse Warning "a question whose answer is always the same"
    W0502 NeverReached Warning "a time limit that is never reached"
    W0503 InsideUnbound Warning "a key of a step that does nothing to the steps inside"
    W0701 ScenarioUnset Warning "a placeholder that nothing has set"
        "`{name}` stands for a variable or a captured value, and no earlier step captures one of that name. A step is not \
         carried out if a placeholder in it has no value: it fails, and nothing is sent. Only in commands, patterns and \
         expectations does the text stay as it is written. Capture the value in an earlier step, fix the name, or write \
         `\\{name}` for the text itself."
    W0703 ScenarioBraces Warning "double braces around a placeholder"
        "`{{name}}` is read as `{name}`. Write single braces, so that other tools read the file the same way."
    W0704 ScenarioShadow Warning "a capture that hides an earlier one"
        "Two steps capture the same name; later steps see the later value only."
    W0705 ScenarioUnjudged Warning "a step that expects nothing"
        "The step has neither `expect` nor `assert`, so that nobody can say whether it went well. Say what is expected, or \
         move the step to `setup`."
    W0706 ScenarioData Warning "a file that looks like a scenario and is read as data only"
        "Another scenario names this file (`{ file: NAME }`), so it need not be a scenario. But it has steps under a key other \
         than `steps`, which would make it a scenario that is never run. Fix the key, or move the file into a directory \
         whose files are no scenarios."
    S001 SpecEmpty Error "an empty specification"
        "A specification says what the software does; an empty one leaves everything to chance."
    S002 SpecTitle Error "a specification without a title"
        "The first heading, `# Name`, says what the software is. Without it nothing else of the file is looked \
         at."
    S003 SpecSummary Warning "nothing between the title and the first section"
        "One paragraph under the title says what the software is for."
    S004 SpecSection Warning "an empty section"
        "A section with neither text nor sections of its own says nothing."
    S005 SpecTwice Warning "two sections of one name"
        "Two headings of the same level and text under one title make it unclear which of them holds."
    S006 SpecFence Warning "a code block that does not end"
        "Everything behind an opening fence is code until a closing one; without that the rest of the file is no \
         text."
    SC001 LintEmpty Error "an empty scenario file"
        "A scenario file holds one scenario."
    SC002 LintYaml Error "no valid YAML"
        "The message says what was expected, the place is where reading stopped."
    SC004 LintRoot Error "a file that is no mapping"
        "A scenario is a mapping with the keys `id` and `steps`."
    SC005 LintIdMissing Error "a scenario without an id"
        "Results and other tools name a scenario by its `id`."
    SC006 LintIdEmpty Error "an empty id"
        "Results and other tools name a scenario by its `id`."
    SC007 LintId Error "an id that other tools refuse"
        "Ids have lower-case letters, digits, `-` and `_`, and begin with a letter or digit."
    SC008 LintType Warning "an unknown type"
        "`type` is `api` or `functional`; nothing depends on it."
    SC009 LintWeightNumber Warning "a weight that is no number"
        "`weight` says how much a scenario counts among others."
    SC010 LintWeight Warning "a weight that is not above zero"
        "A scenario of weight zero counts for nothing."
    SC011 LintStepsMissing Error "a scenario without steps"
        "Without steps nothing is looked at."
    SC012 LintSteps Error "steps that are no list, or an empty one"
        "`steps` is a list with at least one entry."
    SC013 LintSetup Error "a setup that is no list"
        "`setup` is a list of steps."
    SC014 LintStep Error "a step that is no mapping"
        "A step is a mapping with one action."
    SC015 LintAction Error "a step without an action"
        "A step has one of the actions `request exec browser grpc ws tui parallel`."
    SC016 LintExpect Warning "a step that expects nothing"
        "Say in `expect` what should come of it, or decide it with `assert`."
    SC017 LintDescription Warning "a step without a description"
        "Whoever reads a result, people and judges, knows a step by its description."
    SC018 LintRequest Error "a request that is no mapping"
        "`request` is a mapping with `method` and `path`."
    SC019 LintMethodMissing Error "a request without a method"
        "`method` is one of GET POST PUT PATCH DELETE HEAD OPTIONS."
    SC020 LintMethod Error "an unknown method"
        "`method` is one of GET POST PUT PATCH DELETE HEAD OPTIONS."
    SC021 LintPath Error "a request without a path"
        "`path` is joined to the target."
    SC022 LintCaptures Error "captures that are no list"
        "`capture` is a list."
    SC023 LintCapture Error "a capture that is no mapping"
        "A capture has `name` and `jsonpath`, `source`, or both."
    SC024 LintCaptureName Error "a capture without a name"
        "Later steps know a captured value by its name."
    SC025 LintCaptureEmpty Error "a capture with an empty name"
        "Later steps know a captured value by its name."
    SC026 LintCaptureWord Error "a name that cannot stand in a placeholder"
        "Names have letters, digits and `_`, and do not begin with a digit."
    SC027 LintShadow Warning "a capture that hides an earlier one"
        "Later steps see the later value only."
    SC028 LintCaptureWhat Error "a capture of nothing"
        "A capture has `jsonpath`, `source`, or both."
    SC029 LintPathForm Error "no JSONPath"
        "Paths begin with `$` and follow RFC 9535."
    SC030 LintUnset Warning "a placeholder that nothing has set"
        "No earlier step captures that name, so the text is sent as it is written."
    SC031 LintTwice Error "two scenarios with the same id"
        "Each id may be used once in a directory."
    SC032 LintActions Error "a step with two actions"
        "A step does one thing. Make two steps of it."
    SC033 LintExec Error "a command that is no mapping"
        "`exec` is a mapping with `command`."
    SC034 LintCommandMissing Error "an `exec` without a command"
        "`command` is run by `sh -c`."
    SC035 LintCommand Error "an empty command"
        "`command` is run by `sh -c`."
    SC036 LintEnv Error "an environment that is no mapping"
        "`env` is a mapping of names to values."
    SC037 LintExecTimeout Error "no length of time"
        "`timeout` is a number with a unit, such as `30s`."
    SC038 LintSource Error "a source that this step type does not have"
        "The help lists the sources of the step type."
    SC039 LintNoSource Error "a source where a step type has none"
        "The help lists the sources of the step type."
    SC040 LintBrowser Error "a `browser` that is no mapping"
        "`browser` is a mapping with `action`."
    SC041 LintBrowserMissing Error "a `browser` without an action"
        "`action` says what is done in the browser."
    SC042 LintBrowserAction Error "an unknown action of the browser"
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
    SC048 LintAssertWhat Warning "`assert` that looks for nothing"
        "Give it `text`, `text_absent`, `count`, or an `assert` block."
    SC049 LintBrowserTimeout Error "no length of time"
        "`timeout` is a number with a unit, such as `10s`."
    SC050 LintGrpc Error "a `grpc` that is no mapping"
        "`grpc` is a mapping with `service` and `method`, or `stream`."
    SC051 LintService Error "a call without a service"
        "`service` is the full name of a service, unless a stream goes on."
    SC052 LintGrpcMethod Error "a call without a method"
        "`method` is the name of a method of the service, unless a stream goes on."
    SC053 LintGrpcTimeout Error "no length of time"
        "`timeout` is a number with a unit, such as `30s`."
    SC054 LintMessages Error "messages that are no list"
        "`stream.messages` is a list of messages."
    SC055 LintReceive Error "no length of time"
        "`stream.receive.timeout` is a number with a unit, such as `5s`."
    SC060 LintWs Error "a `ws` that is no mapping"
        "`ws` is a mapping with `url`, `send`, `receive`."
    SC061 LintWsUrl Warning "a WebSocket that nothing opens"
        "The first step of a connection has a `url`."
    SC062 LintWsTimeout Error "no length of time"
        "`receive.timeout` is a number with a unit, such as `5s`."
    SC063 LintWsCount Error "a count that is not above zero"
        "`receive.count` says how many messages are waited for."
    SC070 LintTui Error "a `tui` that is no mapping"
        "`tui` is a mapping."
    SC071 LintTuiNothing Error "a `tui` that does nothing"
        "Give it `command`, `send_key`, `send_text`, `wait_for`, `assert_screen` or `assert_absent`."
    SC072 LintTuiCommand Error "an empty command"
        "`command` is run by `sh -c` under a terminal."
    SC073 LintTuiTimeout Error "no length of time"
        "`timeout` is a number with a unit, such as `5s`."
    SC101 LintVacuous Warning "a scenario that nothing could fail"
        "A program that answers everything with an empty 404, or with an empty 200, or exits at once, would \
         satisfy every assertion of it. Assert something that only the right program does."
    SC102 LintUnreachable Warning "a step that is never run"
        "The pauses before it take longer than the `timeout` of the scenario."
    SC103 LintSecret Error "a secret in a scenario"
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
