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
    E0308 MixedTypes Error "a comparison that can never be meant"
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
    E0501 Cycle Error "steps wait for each other in a circle"
    E0502 SelfRead Error "a step that reads itself"
    E0503 BodyMisplaced Error "only control verbs have a body"
    E0504 LoopBound Error "a loop without a bound"
    E0505 UnknownState Error "a state that is not declared"
    E0506 CallCycle Error "pipelines call each other in a circle"
    E0507 CallUnknownInput Error "an input that the called pipeline does not have"
    E0508 CallMissingInput Error "the called pipeline needs an input"
    E0509 ToleratesOuter Error "an inner step cannot tolerate an outer one"
    E0601 InputUnknown Error "the pipeline has no such input"
    E0602 InputMissing Error "a required input is missing"
    E0603 InputType Error "an input of the wrong type"
    E0604 InputRange Error "an input out of range"
    E0605 InputWord Error "an input that is not one of the choices"
    E0606 InputUnreadable Error "an input file or directory cannot be read"
    E0607 InputEmpty Error "an input file is empty"
    E0608 InputDeclaration Error "an input is declared wrongly"
    E0609 InputModel Error "an input names a model that nobody knows"
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
        "The directory has no file that ends in `.yaml` or `.yml` (subdirectories are not searched), or a file is empty. \
         Nothing to check is never taken for success."
    E0709 ScenarioTime Error "no length of time"
        "Lengths of time are numbers with units, such as `300ms`, `1.5s` or `1m30s`. A bare number is refused, because \
         nobody can tell whether it means seconds or milliseconds."
    E0710 ScenarioValue Error "a value that is out of range"
        "The value has the right type but cannot be used: an unknown HTTP method, a negative weight, a file path that is \
         not absolute."
    E0711 ScenarioCapture Error "a capture that cannot work"
        "A capture keeps a part of an answer: `jsonpath`, `source`, or both. A request has the sources `status`, `body` and \
         `header:NAME`; a command has `stdout`, `stderr` and `exitcode`."
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
        "The file is there but could not be read, or is no UTF-8 text. Save it as UTF-8 and check its permissions."
    E0716 ScenarioFixture Error "a fixture that is not there"
        "A scenario names a fixture, and the directory `fixtures` beside the scenarios has no file of that name. The help \
         names the nearest one."
    W0201 UnusedInput Warning "an input that nothing reads"
    W0202 UnusedFunction Warning "a function that nothing calls"
    W0301 ConstantCondition Warning "a condition that is always the same"
    W0501 NeverFalse Warning "a question whose answer is always the same"
    W0701 ScenarioUnset Warning "a placeholder that nothing has set"
        "`{name}` stands for a captured value, and no earlier step captures one of that name, so the text is sent as it is \
         written. Capture it in an earlier step, or mend the name."
    W0702 ScenarioDocuments Warning "more than one document in a scenario file"
        "Only the first YAML document of a file is read. Put the others into files of their own."
    W0703 ScenarioBraces Warning "double braces around a placeholder"
        "`{{name}}` is read as `{name}`. Write single braces, so that other tools read the file the same way."
    W0704 ScenarioShadow Warning "a capture that hides an earlier one"
        "Two steps capture the same name; later steps see the later value only."
    W0705 ScenarioUnjudged Warning "a step that expects nothing"
        "The step has neither `expect` nor `assert`, so that nobody can say whether it went well. Say what is expected, or \
         move the step to `setup`."
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
