//! One entry for many feeds, of which some are resident.

use super::*;

/// However many readers are named beside those that are resident, in whatever order.
#[actix_rt::test]
async fn a_delivery_reaches_the_resident_ones_among_its_readers_and_nobody_else() {
    let few = vec![2, 4, 7];
    let many: Vec<i64> = (1..=900).filter(|reader| reader % 2 == 0).collect();
    let many_in_disorder: Vec<i64> = many.iter().rev().copied().collect();
    for readers in [few, many, many_in_disorder] {
        let stage = Stage::with(1..=3);
        let timelines = timelines(&stage);
        let resident: Vec<TimelineKey> =
            (1..=8).map(TimelineKey::Home).chain([TimelineKey::Author(2)]).collect();
        for key in &resident {
            timelines.page(*key, Range::ALL, 5).await.unwrap();
        }
        let loads = stage.loads();
        timelines.deliver(&readers, entry(9));
        for key in resident {
            let newest = timelines.page(key, Range::ALL, 1).await.unwrap().entries[0];
            let is_told = matches!(key, TimelineKey::Home(reader) if readers.contains(&reader));
            assert_eq!(newest, entry(if is_told { 9 } else { 3 }), "{key:?} of {readers:?}");
        }
        assert_eq!(stage.loads(), loads, "nothing was loaded again");
        assert_eq!(timelines.resident_count().0, 9, "cold ones stay cold");
    }
}
