//! Rules, their order, the index, and what is decided.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use regex::Regex;

use super::*;
use crate::model::fuzz::fuzz;
use crate::model::{Forward, FrontendId, Name, Protocol, Redirect, RouteId, Share, Template};

/// A request as a test writes it.
#[derive(Clone, Debug, Default)]
struct Asked {
    words: Vec<&'static str>,
    source: Option<IpAddr>,
    host: Option<String>,
    method: Option<&'static str>,
    path: Option<Vec<u8>>,
    query: Option<Vec<u8>>,
    fields: Vec<(&'static str, Vec<u8>)>,
}

impl RequestView for Asked {
    fn any_protocol(&self, mut test: impl FnMut(&[u8]) -> bool) -> bool {
        self.words.iter().any(|word| test(word.as_bytes()))
    }

    fn source(&self) -> Option<IpAddr> {
        self.source
    }

    fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    fn method(&self) -> Option<&str> {
        self.method
    }

    fn path(&self) -> Option<&[u8]> {
        self.path.as_deref()
    }

    fn query(&self) -> Option<&[u8]> {
        self.query.as_deref()
    }

    fn any_header(&self, name: &str, mut test: impl FnMut(&[u8]) -> bool) -> bool {
        self.fields.iter().any(|(known, value)| *known == name && test(value))
    }
}

fn asked() -> Asked {
    Asked {
        words: vec!["http"],
        source: Some(Ipv4Addr::new(10, 1, 2, 3).into()),
        host: Some("api.example.com".to_owned()),
        method: Some("GET"),
        path: Some(b"/v1/items".to_vec()),
        query: Some(b"a=1&b=two%20x;c&a=9".to_vec()),
        fields: vec![
            ("x-user", b"Ann".to_vec()),
            ("x-user", b"Bob".to_vec()),
            ("x-odd", b"evil\xff".to_vec()),
            ("cookie", b"sid=abc; theme=dark".to_vec()),
            ("cookie", b"sid=def;empty".to_vec()),
        ],
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn farm(text: &str) -> FarmId {
    FarmId::derive(&name(text))
}

fn rule(subject: Subject, test: Test) -> Rule {
    Rule { subject, test, is_negated: false }
}

fn not(rule: Rule) -> Rule {
    Rule { is_negated: !rule.is_negated, ..rule }
}

fn is(text: &str) -> Test {
    Test::Is(text.into())
}

fn forward(to: &str) -> Action {
    Action::Forward(Forward::to(farm(to)))
}

fn split(shares: &[(&str, u32)]) -> Action {
    let share = |(to, weight): &(&str, u32)| Share { farm: farm(to), weight: *weight };
    Action::Forward(Forward { shares: shares.iter().map(share).collect(), ..Forward::to(farm("web")) })
}

fn redirect() -> Action {
    Action::Redirect(Redirect { status: 302, target: Template::parse("https://${host}/").unwrap() })
}

fn route(text: &str, priority: u8, rules: Vec<Rule>, action: Action) -> Arc<Route> {
    let name = name(text);
    Arc::new(Route { id: RouteId::derive(&self::name("web"), &name), name, priority, rules: rules.into(), action })
}

fn frontend(routes: Vec<Arc<Route>>) -> Frontend {
    let web = name("web");
    Frontend { routes, ..Frontend::new(FrontendId::derive(&web), web, Protocol::Http, farm("web")) }
}

fn never(_: Option<&Route>) -> u64 {
    panic!("nothing is split here")
}

/// Which route takes it.
fn taken<'a>(table: &'a RouteTable, view: &impl RequestView) -> Option<&'a str> {
    table.decide(view, never).route.map(|route| route.name.as_str())
}

/// Whether a frontend with that one rule sends the request elsewhere, which must be what the rule says alone.
#[track_caller]
fn check(view: &impl RequestView, subject: &Subject, test: &Test, want: bool) {
    for is_negated in [false, true] {
        let one = Rule { subject: subject.clone(), test: test.clone(), is_negated };
        let table = RouteTable::new(&frontend(vec![route("one", 0, vec![one.clone()], forward("other"))]));
        let is_taken = taken(&table, view).is_some();
        assert_eq!(is_taken, want != is_negated, "{one:?} of {subject:?}");
    }
}

fn subjects() -> [(Subject, &'static str); 7] {
    [
        (Subject::Host, "api.example.com"),
        (Subject::Uri, "/v1/items"),
        (Subject::Header("x-user".into()), "Ann"),
        (Subject::Header("x-user".into()), "Bob"),
        (Subject::Cookie("sid".into()), "def"),
        (Subject::Param("a".into()), "1"),
        (Subject::Param("b".into()), "two%20x"),
    ]
}

#[test]
fn rule_of_every_text_and_match_holds_of_what_it_says_and_of_nothing_else() {
    let view = asked();
    let nothing = Regex::new("^~$").unwrap();
    for (subject, value) in subjects() {
        let (head, tail) = value.split_at(value.len() / 2);
        let (first, last) = (&value[..1], &value[value.len() - 1..]);
        let list = |texts: &[&str]| Test::In(texts.iter().map(|text| (*text).into()).collect());
        for (test, want) in [
            (is(value), true),
            (is(head), value == head),
            (is(&format!("{value}x")), false),
            (list(&["zzz", value]), true),
            (list(&["zzz", first]), value == first),
            (list(&[]), false),
            (Test::Contains(value.into()), true),
            (Test::Contains(tail.into()), true),
            (Test::Contains("~".into()), false),
            (Test::StartsWith(first.into()), true),
            (Test::StartsWith("".into()), true),
            (Test::StartsWith("~".into()), false),
            (Test::EndsWith(last.into()), true),
            (Test::EndsWith("".into()), true),
            (Test::EndsWith("~".into()), false),
            (Test::EndsWith(format!("x{value}").into()), false),
            (Test::Matches(Regex::new(&regex::escape(tail)).unwrap()), true),
            (Test::Matches(nothing.clone()), false),
            (Test::Exists, true),
        ] {
            check(&view, &subject, &test, want);
        }
    }
}

#[test]
fn what_is_not_there_passes_no_test_and_every_negated_one() {
    let nothing = Asked::default();
    let anything = Regex::new("").unwrap();
    let all = subjects().into_iter().map(|(subject, _)| subject);
    for subject in all.chain([Subject::Method, Subject::Protocol, Subject::Source, Subject::Cookie("x".into())]) {
        for test in [is(""), Test::Exists, Test::StartsWith("".into()), Test::Matches(anything.clone())] {
            check(&nothing, &subject, &test, false);
        }
    }
    check(&asked(), &Subject::Header("x-absent".into()), &Test::Exists, false);
    check(&asked(), &Subject::Cookie("SID".into()), &Test::Exists, false);
    check(&asked(), &Subject::Cookie("si".into()), &Test::Exists, false);
    check(&asked(), &Subject::Param("A".into()), &Test::Exists, false);
}

#[test]
fn first_value_of_a_parameter_counts_and_any_line_of_a_header() {
    check(&asked(), &Subject::Param("a".into()), &is("9"), false);
    check(&asked(), &Subject::Param("c".into()), &is(""), true);
    check(&asked(), &Subject::Param("b".into()), &is("two x"), false);
    check(&asked(), &Subject::Cookie("sid".into()), &is("abc"), true);
    check(&asked(), &Subject::Cookie("empty".into()), &is(""), true);
    check(&asked(), &Subject::Header("x-user".into()), &is("ann"), false);
}

#[test]
fn value_that_is_no_text_is_compared_all_the_same() {
    let odd = Subject::Header("x-odd".into());
    check(&asked(), &odd, &Test::Contains("evil".into()), true);
    check(&asked(), &odd, &Test::Matches(Regex::new("^evil").unwrap()), true);
    check(&asked(), &odd, &Test::Matches(Regex::new("^evil$").unwrap()), false);
}

#[test]
fn method_protocol_and_source_are_looked_at_as_they_are() {
    let view = asked();
    let list = |texts: &[&str]| Test::In(texts.iter().map(|text| (*text).into()).collect());
    let within = |texts: &[&str]| Test::Within(texts.iter().map(|text| text.parse().unwrap()).collect());
    for (subject, test, want) in [
        (Subject::Method, is("GET"), true),
        (Subject::Method, is("get"), false),
        (Subject::Method, list(&["PUT", "GET"]), true),
        (Subject::Method, list(&["PUT"]), false),
        (Subject::Protocol, is("http"), true),
        (Subject::Protocol, is("https"), false),
        (Subject::Protocol, list(&["https", "http"]), true),
        (Subject::Source, within(&["10.0.0.0/8"]), true),
        (Subject::Source, within(&["192.0.2.0/24", "10.1.2.3/32"]), true),
        (Subject::Source, within(&["10.1.2.4/32", "::/0"]), false),
    ] {
        check(&view, &subject, &test, want);
    }
    let mapped = Asked { source: Some("::ffff:10.1.2.3".parse().unwrap()), ..asked() };
    check(&mapped, &Subject::Source, &within(&["10.0.0.0/8"]), true);
}

#[test]
fn host_is_compared_whatever_the_case_of_the_rule() {
    for test in [is("API.Example.com"), Test::EndsWith(".EXAMPLE.com".into()), Test::Contains("Example".into())] {
        check(&asked(), &Subject::Host, &test, true);
    }
}

#[test]
fn connection_is_seen_by_its_name_and_what_it_offers() {
    let source = Some(IpAddr::from([192, 0, 2, 1]));
    let alpn = [b"h2".to_vec(), b"http/1.1".to_vec()];
    let tls = Conversation::tls(source, Some("DB.example.com."), &alpn);
    let plain = Conversation::<Vec<u8>>::plain(source, false);
    let request = Conversation::<Vec<u8>>::plain(source, true);
    for (word, want) in [("tcp", true), ("http", true), ("https", false), ("tls", false)] {
        check(&request, &Subject::Protocol, &is(word), want);
    }
    check(&tls, &Subject::Host, &is("db.example.com"), true);
    check(&plain, &Subject::Host, &Test::Exists, false);
    for (word, of_tls, of_plain) in [
        ("tls", true, false),
        ("tcp", false, true),
        ("h2", true, false),
        ("http/2.0", true, false),
        ("h3", false, false),
        ("https", true, false),
        ("http", false, false),
    ] {
        check(&tls, &Subject::Protocol, &is(word), of_tls);
        check(&plain, &Subject::Protocol, &is(word), of_plain);
    }
    for subject in [Subject::Method, Subject::Uri, Subject::Header("x".into()), Subject::Param("x".into())] {
        check(&tls, &subject, &Test::Exists, false);
    }
}

#[test]
fn every_rule_of_a_route_must_hold_and_a_route_without_rules_always_does() {
    let host = rule(Subject::Host, is("api.example.com"));
    let get = rule(Subject::Method, is("GET"));
    let both = |second: Rule| RouteTable::new(&frontend(vec![route("r", 0, vec![host.clone(), second], forward("b"))]));
    assert_eq!(taken(&both(get.clone()), &asked()), Some("r"));
    assert_eq!(taken(&both(not(get)), &asked()), None);
    let table = RouteTable::new(&frontend(vec![route("all", 0, Vec::new(), forward("b"))]));
    assert_eq!(taken(&table, &Asked::default()), Some("all"));
}

#[test]
fn route_that_answers_comes_before_those_that_forward_then_priority_then_age() {
    let always = |text: &str, priority: u8, action: Action| route(text, priority, Vec::new(), action);
    let mut routes = vec![
        always("forward-1-old", 1, forward("b")),
        always("forward-0", 0, forward("b")),
        always("reject-9", 9, Action::Reject(403)),
        always("redirect-9", 9, redirect()),
        always("redirect-3", 3, redirect()),
        always("forward-1-new", 1, forward("b")),
    ];
    let mut order = Vec::new();
    while let Some(first) = taken(&RouteTable::new(&frontend(routes.clone())), &asked()) {
        order.push(first.to_owned());
        routes.retain(|route| route.name.as_str() != first);
    }
    assert_eq!(order, ["redirect-3", "reject-9", "redirect-9", "forward-0", "forward-1-old", "forward-1-new"]);
}

#[test]
fn order_holds_between_routes_filed_by_host_by_path_and_nowhere() {
    let by_host =
        |text, priority| route(text, priority, vec![rule(Subject::Host, is("api.example.com"))], forward("b"));
    let by_path =
        |text, priority| route(text, priority, vec![rule(Subject::Uri, Test::StartsWith("/v1".into()))], forward("b"));
    let by_none = |text, priority| route(text, priority, vec![rule(Subject::Method, is("GET"))], forward("b"));
    let routes = vec![by_host("h", 2), by_path("p", 1), by_none("n", 3)];
    assert_eq!(taken(&RouteTable::new(&frontend(routes)), &asked()), Some("p"));
    let routes = vec![by_host("h", 2), by_path("p", 3), by_none("n", 1)];
    assert_eq!(taken(&RouteTable::new(&frontend(routes)), &asked()), Some("n"));
}

#[test]
fn decision_names_the_action_the_route_and_the_farm() {
    let api = vec![rule(Subject::Host, is("api.example.com"))];
    let mut declared = frontend(vec![route("api", 0, api, forward("api"))]);
    let table = RouteTable::new(&declared);
    let decision = table.decide(&asked(), never);
    assert_eq!((decision.action, decision.feed), (&forward("api"), Some(1)));
    assert_eq!(table.at(decision.place), (&forward("api"), decision.route));
    let decision = table.decide(&Asked::default(), never);
    assert_eq!((decision.action, decision.feed, decision.route), (&forward("web"), Some(0), None));
    assert_eq!(table.at(decision.place).0, &forward("web"));
    assert_eq!(table.otherwise(never).feed, Some(0));
    declared.otherwise = Action::Reject(404);
    let table = RouteTable::new(&declared);
    let decision = table.decide(&Asked::default(), never);
    assert_eq!((decision.action, decision.feed), (&Action::Reject(404), None));
    assert_eq!(table.decide(&asked(), never).feed, Some(0));
}

#[test]
fn split_is_exact_by_its_own_turns_and_weight_0_has_none() {
    let canary = split(&[("web", 90), ("off", 0), ("canary", 10)]);
    let always = route("canary", 0, Vec::new(), canary);
    let declared = frontend(vec![always]);
    let farms = declared.farms();
    let table = RouteTable::new(&declared);
    let mut counts = vec![0; farms.len()];
    for turn in 5..105 {
        let ask =
            |route: Option<&Route>| route.map(|route| assert_eq!(route.name.as_str(), "canary")).map_or(0, |()| turn);
        counts[table.decide(&asked(), ask).feed.unwrap()] += 1;
    }
    let position = |text| farms.iter().position(|id| *id == farm(text)).unwrap();
    assert_eq!([position("web"), position("off"), position("canary")].map(|at| counts[at]), [90, 0, 10]);
}

#[test]
fn mirror_is_found_by_its_place() {
    let mirror = Some(crate::model::Mirror { farm: farm("shadow"), share: 10 });
    let action = Action::Forward(Forward { mirror, ..Forward::to(farm("web")) });
    let declared = Frontend { otherwise: action, ..frontend(Vec::new()) };
    let table = RouteTable::new(&declared);
    assert_eq!(table.mirror_at(table.otherwise(never).place), Some(1));
    let table = RouteTable::new(&frontend(Vec::new()));
    assert_eq!(table.mirror_at(table.otherwise(never).place), None);
}

#[test]
fn deciding_among_a_thousand_hosts_allocates_nothing() {
    let host = |n: usize| vec![rule(Subject::Host, is(&format!("h{n}.example.com")))];
    let mut routes: Vec<_> = (0..1000).map(|n| route(&format!("r{n}"), 9, host(n), forward("b"))).collect();
    let regex = Test::Matches(Regex::new("^/v[0-9]+/").unwrap());
    let api = vec![
        rule(Subject::Host, Test::EndsWith(".example.com".into())),
        rule(Subject::Cookie("sid".into()), is("def")),
        rule(Subject::Param("b".into()), Test::Contains("two".into())),
        rule(Subject::Uri, regex),
    ];
    routes.push(route("api", 200, api, split(&[("a", 1), ("b", 2)])));
    let table = RouteTable::new(&frontend(routes));
    let view = asked();
    let decide = |turn: u64| table.decide(&view, |_| turn).feed;
    decide(0);
    let seen = allocation_counter::measure(|| (1..100).for_each(|turn| assert!(decide(turn).is_some())));
    assert_eq!(seen.count_total, 0);
}

fn text() -> impl Strategy<Value = Box<str>> {
    prop_oneof![
        prop::sample::select(vec!["", "a", ".a", "b.a", "c.b.a", "/", "/a", "/a/b", "b"]).prop_map(Into::into),
        "[/a-b.\u{e9}]{0,4}".prop_map(Into::into),
    ]
}

fn any_test() -> impl Strategy<Value = Test> {
    prop_oneof![
        text().prop_map(Test::Contains),
        text().prop_map(Test::EndsWith),
        Just(Test::Exists),
        prop::collection::vec(text(), 0..4).prop_map(|texts| Test::In(texts.into())),
        text().prop_map(Test::Is),
        text().prop_map(|text| Test::Matches(Regex::new(&regex::escape(&text)).unwrap())),
        text().prop_map(Test::StartsWith),
        Just(Test::Within(Box::new(["10.0.0.0/8".parse().unwrap()]))),
    ]
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let subject = prop_oneof![
        4 => Just(Subject::Host),
        4 => Just(Subject::Uri),
        1 => Just(Subject::Cookie("a".into())),
        1 => Just(Subject::Header("a".into())),
        1 => Just(Subject::Method),
        1 => Just(Subject::Param("a".into())),
        1 => Just(Subject::Protocol),
        1 => Just(Subject::Source),
    ];
    (subject, any_test(), prop::bool::weighted(0.2)).prop_map(|(subject, test, is_negated)| Rule {
        subject,
        test,
        is_negated,
    })
}

fn any_request() -> impl Strategy<Value = Asked> {
    let bytes =
        || prop_oneof![text().prop_map(|text| text.as_bytes().to_vec()), prop::collection::vec(any::<u8>(), 0..9)];
    let fields = prop::collection::vec((prop::sample::select(vec!["a", "cookie"]), bytes()), 0..3);
    let host = prop::option::of(text().prop_map(|text| text.to_lowercase()));
    (host, prop::option::of(bytes()), prop::option::of(bytes()), fields, any::<[u8; 4]>()).prop_map(
        |(host, path, query, fields, source)| Asked {
            words: vec!["a", "https"],
            source: Some(source.into()),
            host,
            method: Some("a"),
            path,
            query,
            fields,
        },
    )
}

proptest! {
    /// The index changes nothing: what is decided is what looking at one route after the other says.
    #[test]
    fn index_decides_as_looking_at_every_route_in_order_does(
        tables in prop::collection::vec((prop::collection::vec(any_rule(), 0..4), 0u8..4, 0usize..3), 0..12),
        requests in prop::collection::vec(any_request(), 1..8),
    ) {
        let actions = [forward("b"), redirect(), Action::Reject(403)];
        let routes: Vec<_> = tables
            .iter()
            .enumerate()
            .map(|(n, (rules, priority, action))| {
                route(&format!("r{n}"), *priority, rules.clone(), actions[*action].clone())
            })
            .collect();
        let mut ordered = routes.clone();
        ordered.sort_by_key(|route| (matches!(route.action, Action::Forward(_)), route.priority));
        let table = RouteTable::new(&frontend(routes));
        for request in &requests {
            let naive = ordered.iter().find(|route| route.rules.iter().all(|rule| rule::holds(rule, request)));
            prop_assert_eq!(taken(&table, request), naive.map(|route| route.name.as_str()), "{:?}", request);
        }
    }

    #[test]
    fn any_host_is_made_one_form_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Some(host) = host_of(&bytes) {
            prop_assert!(!host.bytes().any(|byte| byte.is_ascii_uppercase()));
        }
    }
}

/// Whatever is asked, a rule holds or its opposite does.
#[test]
fn any_rule_holds_or_its_opposite_does() {
    fuzz(&(any_rule(), any_request()), |(rule, request)| {
        let opposite = Rule { is_negated: !rule.is_negated, ..rule.clone() };
        prop_assert_ne!(rule::holds(&rule, &request), rule::holds(&opposite, &request));
        Ok(())
    });
}
