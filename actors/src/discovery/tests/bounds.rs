//! What indexes and sorted searches keep, and what they let go.

use super::*;

#[test]
fn what_is_forgotten_or_changed_leaves_nothing_in_the_indexes() {
    let mut world = World::default();
    let full = |apis: &[&'static str]| Shop {
        amount: Some(1.0),
        p99: Some(2.0),
        apis: apis.iter().copied().collect(),
        ..shop("a")
    };
    world.keep(full(&["order", "pay"]));
    let weight = world.index.weight();
    world.keep(full(&["order"]));
    assert_eq!(world.index.weight(), weight - 1, "what it offers no more");
    world.keep(full(&["order", "pay"]));
    assert_eq!(world.index.weight(), weight);
    world.forget(&"a".parse().unwrap());
    assert_eq!(world.index.weight(), 0);
}

/// A place that was given to another one meanwhile is not a place in the order of a search.
#[test]
fn one_that_came_meanwhile_does_not_take_the_place_of_one_that_went() {
    let mut world = World::default();
    ["a", "b", "c"].into_iter().for_each(|id| world.keep(shop(id)));
    let query = SystemQuery { sort: Some("system.title".to_owned()), limit: Some(1), ..SystemQuery::default() };
    let first = world.page(&query).unwrap();
    world.forget(&"b".parse().unwrap());
    world.keep(shop("z"));
    let rest = SystemQuery { cursor: first.next, limit: Some(9), ..query };
    assert_eq!(world.page(&rest).unwrap().items, [shop("c")], "`z` comes last in this order, and came too late for it");
}

#[test]
fn a_search_has_few_keys_a_system_few_words_and_all_sorted_searches_a_common_room() {
    let keys = ["system.title"; 9].join(",");
    let problem = refused(SystemQuery { sort: Some(keys), ..SystemQuery::default() });
    assert!(problem.detail.contains("at most 8 fields"), "{}", problem.detail);
    let mut world = World::default();
    let title = (0..1_200).map(|n| format!("w{n:04} ")).collect();
    world.keep(Shop { title, ..shop("a") });
    assert_eq!(world.index.weight() - world.all(&SystemQuery::default()).len(), 1_000 + 2, "words, type and health");
    // Four times as many as one may sort: the fifth search lets the first go, though sixty cursors are free.
    let mut world = World::default();
    (0..10).for_each(|n| world.keep(shop(&format!("s{n}"))));
    let limits = SearchLimits { scanned: 100, sorted: 10, cursors: 64 };
    let query = SystemQuery { sort: Some("system.title".to_owned()), limit: Some(1), ..SystemQuery::default() };
    let first = world.page_within(&query, &limits).unwrap();
    (0..4).for_each(|_| drop(world.page_within(&query, &limits).unwrap()));
    let on = SystemQuery { cursor: first.next, ..query };
    assert_eq!(world.page_within(&on, &limits).unwrap_err().kind, ProblemKind::CursorExpired);
}
