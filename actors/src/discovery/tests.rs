mod bounds;

use std::collections::{BTreeMap, BTreeSet};

use proptest::{prelude::*, sample::select};
use twinway_protocol::{
    JsonDoc, Problem, ProblemKind, SystemId,
    registry::{Page, SystemQuery},
};

use super::{Fact, Field, Index, Kind, SearchLimits, Searches, Seen, Subject};
use crate::expression::{EXPRESSION_STEPS_MAX, Expression};

const LIMITS: SearchLimits = SearchLimits { scanned: 1_000, sorted: 1_000, cursors: 4 };

/// A system as the tests think of it.
#[derive(Clone, Debug, PartialEq)]
struct Shop {
    id: SystemId,
    of: &'static str,
    title: String,
    amount: Option<f64>,
    p99: Option<f64>,
    health: &'static str,
    apis: BTreeSet<&'static str>,
    properties: BTreeMap<String, JsonDoc>,
}

impl Subject for Shop {
    const KIND: Kind = Kind::ThirdParty;
    type Id = SystemId;
    const LISTS: &'static [Field] = &[Field::Apis];

    fn id(&self) -> &SystemId {
        &self.id
    }

    fn fact(&self, field: Field) -> Fact<'_> {
        match field {
            Field::Id => Fact::Text(self.id.as_str()),
            Field::Type => Fact::Text(self.of),
            Field::Title => Fact::Text(&self.title),
            Field::Description => Fact::Text(""),
            Field::Properties => Fact::Documents(&self.properties),
            Field::ChargeAmount => Fact::number(self.amount),
            Field::MeasuredP99 => Fact::number(self.p99),
            Field::Health => Fact::Text(self.health),
            Field::Calls => Fact::Count(7),
            Field::Apis => Fact::List(self.apis.iter().copied().collect()),
            _ => Fact::Absent,
        }
    }

    fn lists(&self, field: Field, item: &str) -> bool {
        field == Field::Apis && self.apis.contains(item)
    }
}

fn shop(id: &str) -> Shop {
    Shop {
        id: id.parse().unwrap(),
        of: "commerce",
        title: format!("Shop {id}"),
        amount: None,
        p99: None,
        health: "healthy",
        apis: BTreeSet::new(),
        properties: BTreeMap::new(),
    }
}

#[derive(Default)]
struct World {
    index: Index<Shop>,
    searches: Searches,
    shops: BTreeMap<SystemId, Shop>,
    chance: u64,
}

impl World {
    fn keep(&mut self, shop: Shop) {
        self.shops.insert(shop.id.clone(), shop.clone());
        self.index.keep(shop);
    }

    fn measure(&mut self, id: &SystemId, p99: Option<f64>, health: &'static str) {
        if let Some(shop) = self.shops.get_mut(id) {
            (shop.p99, shop.health) = (p99, health);
            self.index.change(id, |shop| (shop.p99, shop.health) = (p99, health));
        }
    }

    fn forget(&mut self, id: &SystemId) {
        self.shops.remove(id);
        self.index.forget(id);
    }

    fn page_within(&mut self, query: &SystemQuery, limits: &SearchLimits) -> Result<Page<Shop>, Problem> {
        self.chance += 1;
        self.searches.page(&self.index, &query.clone().into(), limits, self.chance, Shop::clone)
    }

    fn page(&mut self, query: &SystemQuery) -> Result<Page<Shop>, Problem> {
        self.page_within(query, &LIMITS)
    }

    fn all(&mut self, query: &SystemQuery) -> Vec<String> {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.page(&SystemQuery { cursor, ..query.clone() }).expect("it is answered");
            found.extend(page.items.into_iter().map(|shop| shop.id.to_string()));
            cursor = page.next;
            if cursor.is_none() {
                return found;
            }
        }
    }

    /// The same search without any index.
    fn scan(&self, query: &SystemQuery) -> Vec<&Shop> {
        let filter = query.filter.as_deref().map(|filter| Expression::parse(filter).unwrap());
        let words: Vec<_> =
            query.text.as_deref().unwrap_or_default().split_whitespace().map(str::to_lowercase).collect();
        let mut found: Vec<_> = self
            .shops
            .values()
            .filter(|shop| query.system_type.as_ref().is_none_or(|of| *of == shop.of))
            .filter(|shop| query.operation.as_ref().is_none_or(|api| shop.apis.contains(api.as_str())))
            .filter(|shop| {
                let text = format!("{} {}", shop.id, shop.title).to_lowercase();
                words.iter().all(|word| text.split_whitespace().any(|own| own.starts_with(word)))
            })
            .filter(|shop| {
                let mut steps = EXPRESSION_STEPS_MAX;
                filter.as_ref().is_none_or(|filter| filter.holds_within(&Seen(*shop), &mut steps).unwrap_or(false))
            })
            .collect();
        let number = |shop: &Shop, field: &str| if field == "charge.amount" { shop.amount } else { shop.p99 };
        for key in query.sort.as_deref().unwrap_or_default().rsplit(',').filter(|key| !key.is_empty()) {
            let (down, field) = key.strip_prefix('-').map_or((false, key), |field| (true, field));
            found.sort_by(|a, b| match (number(a, field), number(b, field)) {
                (Some(a), Some(b)) if down => b.partial_cmp(&a).unwrap(),
                (Some(a), Some(b)) => a.partial_cmp(&b).unwrap(),
                (a, b) => a.is_none().cmp(&b.is_none()),
            });
        }
        found
    }
}

/// What happens to the register.
#[derive(Clone, Debug)]
enum Event {
    Keep(Shop),
    Measure(SystemId, Option<f64>, &'static str),
    Forget(SystemId),
}

impl World {
    fn take(&mut self, event: Event) {
        match event {
            Event::Keep(shop) => self.keep(shop),
            Event::Measure(id, p99, health) => self.measure(&id, p99, health),
            Event::Forget(id) => self.forget(&id),
        }
    }
}

fn ids() -> impl Strategy<Value = SystemId> {
    (0_u8..24).prop_map(|n| format!("s{n:02}").parse().unwrap())
}

fn numbers() -> impl Strategy<Value = Option<f64>> {
    prop::option::of(select(vec![0.0, -0.0, 1.0, 2.5, 5.0, 100.0, -3.0]))
}

fn healths() -> impl Strategy<Value = &'static str> {
    select(vec!["healthy", "degraded", "offline"])
}

fn shops() -> impl Strategy<Value = Shop> {
    let titles = select(vec!["Lamp shop", "Großer Laden", "lamps AND boats, lamp", ""]);
    let apis = prop::collection::btree_set(select(vec!["order", "pay"]), 0..3);
    let region = prop::option::of(select(vec!["\"eu\"", "5", "null", "[1]"]));
    (ids(), select(vec!["commerce", "bank", "home"]), titles, numbers(), numbers(), healths(), apis, region).prop_map(
        |(id, of, title, amount, p99, health, apis, region)| {
            let region = region.map(|region| ("region".to_owned(), JsonDoc::parse(region).unwrap()));
            let properties = region.into_iter().collect();
            Shop { id, of, title: title.to_owned(), amount, p99, health, apis, properties }
        },
    )
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => shops().prop_map(Event::Keep),
        2 => (ids(), numbers(), healths()).prop_map(|(id, p99, health)| Event::Measure(id, p99, health)),
        1 => ids().prop_map(Event::Forget),
    ]
}

fn filters() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (
            select(vec!["charge.amount", "performance.p99_ms", "performance.calls"]),
            select(vec!["<", "<=", ">", ">=", "==", "!="]),
            select(vec!["0", "2.5", "5", "-3.0", "100", "7", "9007199254740993"]),
            any::<bool>()
        )
            .prop_map(|(field, sign, number, turned)| {
                if turned { format!("{number} {sign} {field}") } else { format!("{field} {sign} {number}") }
            }),
        select(vec![
            "system.type == 'commerce'",
            "'bank' == system.type",
            "system.type in ['home', 'bank', 'home']",
            "system.type in []",
            "system.type != 'home'",
            "'order' in apis",
            "apis.exists(a, a == 'pay')",
            "standing.health == 'healthy'",
            "has(charge.amount)",
            "has(system.properties.region)",
            "system.properties.region == 'eu'",
            "system.properties.region < 10",
            "size(apis) == 2",
            "system.title.startsWith('L')",
            "true",
            "charge.amount < performance.p99_ms",
            "system.id > 's05'",
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            4 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} && {b}")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            1 => inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

fn queries() -> impl Strategy<Value = SystemQuery> {
    let sorts = select(vec![
        "charge.amount",
        "-performance.p99_ms",
        "performance.p99_ms,-charge.amount",
        "-charge.amount,performance.p99_ms",
    ]);
    let texts = select(vec!["lamp", "LA", "s0 shop", "große", "boat lamps", "zzz"]);
    (
        prop::option::weighted(0.7, filters()),
        prop::option::of(sorts),
        prop::option::weighted(0.3, texts),
        prop::option::weighted(0.2, select(vec!["commerce", "bank", "nothing"])),
        prop::option::weighted(0.2, select(vec!["order", "pay", "nothing"])),
        1_u32..6,
    )
        .prop_map(|(filter, sort, text, of, api, limit)| SystemQuery {
            filter,
            sort: sort.map(str::to_owned),
            text: text.map(str::to_owned),
            system_type: of.map(str::to_owned),
            operation: api.map(str::to_owned),
            limit: Some(limit),
            ..SystemQuery::default()
        })
}

proptest! {
    /// FGMV-29 8.2.2: whatever was registered, changed, measured and forgotten, a search finds what a look at every system would.
    #[test]
    fn a_search_finds_the_same_as_a_look_at_every_system(
        happened in prop::collection::vec(events(), 0..80),
        query in queries(),
    ) {
        let mut world = World::default();
        happened.into_iter().for_each(|event| world.take(event));
        let expected: Vec<_> = world.scan(&query).iter().map(|shop| shop.id.to_string()).collect();
        prop_assert_eq!(world.all(&query), expected);
    }

    /// What matches throughout is on exactly one page, in whatever order, though what it is sorted by changes.
    #[test]
    fn what_matches_throughout_is_on_exactly_one_page(
        before in prop::collection::vec(events(), 0..60),
        between in prop::collection::vec(prop::collection::vec(events(), 0..8), 0..12),
        query in queries(),
        scanned in 1_usize..30,
    ) {
        let mut world = World::default();
        before.into_iter().for_each(|event| world.take(event));
        let matching = |world: &World| -> BTreeSet<SystemId> { world.scan(&query).iter().map(|shop| shop.id.clone()).collect() };
        let mut throughout = matching(&world);
        let (mut seen, mut cursor, mut between) = (Vec::new(), None, between.into_iter());
        let limits = SearchLimits { scanned, ..LIMITS };
        loop {
            let page = world.page_within(&SystemQuery { cursor, ..query.clone() }, &limits).expect("it is answered");
            let now = matching(&world);
            prop_assert!(page.items.iter().all(|shop| now.contains(&shop.id)), "a page shows what matches now");
            seen.extend(page.items.into_iter().map(|shop| shop.id));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
            for event in between.next().unwrap_or_default() {
                // A system that registers again is another one.
                if let Event::Forget(id) = &event {
                    throughout.remove(id);
                }
                world.take(event);
                let now = matching(&world);
                throughout.retain(|id| now.contains(id));
            }
        }
        for id in throughout {
            prop_assert_eq!(seen.iter().filter(|own| **own == id).count(), 1, "{}", id);
        }
    }
}

fn refused(query: SystemQuery) -> Problem {
    let mut world = World::default();
    world.keep(shop("a"));
    world.page(&query).expect_err("it is refused")
}

#[test]
fn a_filter_that_cannot_be_about_systems_is_refused_with_the_place() {
    for (filter, what) in [
        ("system.type ==", "`filter`: "),
        ("system.tpye == 'commerce'", "have no `system.tpye`, but: system.id, system.type"),
        ("sytem.type == 'a' || true", "have no `sytem.type`"),
        ("twins.count > 3", "third-party systems have no `twins.count`"),
        ("true && charge.amount < '5'", "`<` does not fit a number and a text, at line 1 column 23"),
        ("system.type == 5", "`==` does not fit a text and a number"),
        ("charge.amount", "this is a number, and true or false is needed"),
        ("charge == 5", "have no `charge`, but: charge.amount, charge.currency, charge.per"),
        ("standing.health == 'helthy'", "a health is one of: healthy, degraded, offline, expired"),
        ("breaker.state == 'half-open'", "a breaker is one of: closed, open, halfOpen"),
        ("'order' in system.type", "`in` does not fit a text and a text"),
        ("5 in apis", "`in` does not fit a number and a list"),
        ("apis.exists(a, a < 5)", "`<` does not fit a text and a number"),
        ("has(charge.price)", "have no `charge.price`"),
        ("system.title.size() == 'a'", "`==` does not fit"),
        ("!charge.amount", "true or false is needed"),
        ("charge.amount.cents == 5", "`charge.amount` has no fields"),
    ] {
        let problem = refused(SystemQuery { filter: Some(filter.to_owned()), ..SystemQuery::default() });
        assert_eq!(problem.kind, ProblemKind::InvalidQuery, "{filter}");
        assert!(problem.detail.contains(what), "{filter}: {}", problem.detail);
    }
    for sort in ["charge", "-", "apis", "system.type,twins.count", "", "system.properties"] {
        let problem = refused(SystemQuery { sort: Some(sort.to_owned()), ..SystemQuery::default() });
        assert!(problem.detail.starts_with("`sort`: there is no"), "{sort}: {}", problem.detail);
    }
    let text =
        Some("word ".repeat(3).split(' ').enumerate().map(|(n, w)| format!("{w}{n} ")).collect::<String>().repeat(20));
    assert!(World::default().page(&SystemQuery { text, ..SystemQuery::default() }).is_ok(), "words are counted once");
    let text = Some((0..40).map(|n| format!("w{n} ")).collect());
    assert!(refused(SystemQuery { text, ..SystemQuery::default() }).detail.contains("at most 32 words"));
}

#[test]
fn what_is_absent_or_of_another_type_does_not_match() {
    let mut world = World::default();
    world.keep(Shop { amount: Some(3.0), ..shop("dear") });
    world.keep(shop("free"));
    let odd = |value: &str| BTreeMap::from([("stars".to_owned(), JsonDoc::parse(value).unwrap())]);
    world.keep(Shop { properties: odd("5"), ..shop("number") });
    world.keep(Shop { properties: odd("\"five\""), ..shop("text") });
    let mut found =
        |filter: &str| world.all(&SystemQuery { filter: Some(filter.to_owned()), ..SystemQuery::default() });
    assert_eq!(found("charge.amount < 5"), ["dear"]);
    assert_eq!(found("!(charge.amount < 5)"), [""; 0], "a comparison with nothing is neither");
    assert_eq!(found("!has(charge.amount) || charge.amount < 5"), ["dear", "free", "number", "text"]);
    assert_eq!(found("system.properties.stars > 3"), ["number"]);
    assert_eq!(found("system.properties.stars == 'five'"), ["text"]);
}

#[test]
fn a_cursor_of_a_sorted_search_is_good_for_that_search_until_others_came() {
    let mut world = World::default();
    ["a", "b", "c"].into_iter().for_each(|id| world.keep(shop(id)));
    let query = SystemQuery { sort: Some("-system.title".to_owned()), limit: Some(1), ..SystemQuery::default() };
    let first = world.page(&query).unwrap();
    assert_eq!(first.items, [shop("c")]);
    let on = SystemQuery { cursor: first.next, ..query.clone() };
    for _ in 0..2 {
        assert_eq!(world.page(&on).unwrap().items, [shop("b")], "a page can be asked for again");
    }
    let other = SystemQuery { filter: Some("has(charge.amount)".to_owned()), ..on.clone() };
    assert!(world.page(&other).unwrap_err().detail.contains("a search for something else"));
    for cursor in ["", "x", "zz.1", "1.x"] {
        let bad = SystemQuery { cursor: Some(cursor.to_owned()), ..query.clone() };
        assert_eq!(world.page(&bad).unwrap_err().kind, ProblemKind::InvalidQuery);
    }
    for _ in 0..LIMITS.cursors - 1 {
        world.page(&query).unwrap();
    }
    assert!(world.page(&on).is_ok());
    for _ in 0..LIMITS.cursors {
        world.page(&query).unwrap();
    }
    assert_eq!(world.page(&on).unwrap_err().kind, ProblemKind::CursorExpired);
}

#[test]
fn a_search_that_takes_too_much_goes_on_or_says_so() {
    let mut world = World::default();
    (0..50).for_each(|n| world.keep(shop(&format!("s{n:02}"))));
    let limits = SearchLimits { scanned: 10, sorted: 20, cursors: 4 };
    let last = SystemQuery { filter: Some("system.id == 's49'".to_owned()), ..SystemQuery::default() };
    let first = world.page_within(&last, &limits).unwrap();
    assert!(first.items.is_empty() && first.next.is_some(), "a page looks at ten");
    let sorted = SystemQuery { sort: Some("system.title".to_owned()), ..SystemQuery::default() };
    let problem = world.page_within(&sorted, &limits).unwrap_err();
    assert_eq!(problem.kind, ProblemKind::LimitReached);
    assert!(problem.detail.starts_with("search_records_sorted_max"));
    // Each record takes more steps than a page has left after the first.
    let list = format!("[{}]", vec!["1"; 60].join(","));
    let heavy = format!("{list}.all(a, {list}.all(b, {list}.all(c, a + b + c > 0)))");
    let heavy = SystemQuery { filter: Some(heavy), ..SystemQuery::default() };
    let problem = world.page(&heavy).unwrap_err();
    assert!(problem.detail.contains("more steps than it may"), "{}", problem.detail);
    let list = format!("[{}]", vec!["1"; 25].join(","));
    let fair = format!("{list}.all(a, {list}.all(b, {list}.all(c, a + b + c > 0)))");
    let fair = SystemQuery { filter: Some(fair), ..SystemQuery::default() };
    assert_eq!(world.all(&fair).len(), 50);
}
