//! Finding registered systems by where they are (FGMV-28 7.3.3).

use twinway_protocol::{
    Problem, SystemId,
    message::{FindRegisteredPlaces, PlacesWanted, RegisteredPlacesFound},
    registry::{Health, SystemQuery},
    spatial::{FoundPlace, Place, Seeker, ServicePlace},
};

use super::{Known, Tpsd};
use crate::discovery::Conditions;

impl Tpsd {
    /// What is there for whoever asks: only what may be found, what the device can use, and what the filter lets through.
    pub(super) fn find_places(&self, message: &FindRegisteredPlaces) -> Result<RegisteredPlacesFound, Problem> {
        let PlacesWanted { metaverse, user, capabilities, frame, query, hidden, filter } = &*message.wanted;
        let conditions = SystemQuery { filter: filter.clone(), ..SystemQuery::default() };
        let mut conditions = Conditions::of::<Known>(&conditions.into())?;
        let seeker = Seeker { metaverse, user: user.as_ref(), capabilities: capabilities.as_ref() };
        let mut fits = |id: &SystemId, place: &ServicePlace| -> Result<bool, Problem> {
            let Some(known) = self.systems.get(id) else { return Ok(false) };
            let described = &known.system.description;
            let at = frame.from_earth(place.origin());
            let fits = place.is_for(&seeker)
                && !hidden.iter().any(|region| region.contains(at))
                && known.standing.health != Health::Expired
                && (query.classes.is_empty() || query.classes.contains(&described.system_type))
                && (query.services.is_empty() || known.operations().any(|own| query.services.contains(own)));
            Ok(fits && conditions.are_met(&self.systems, id)?)
        };
        let found = |distance_m: Option<f64>, id: &SystemId, place: &ServicePlace| {
            let known = self.systems.get(id)?;
            let described = &known.system.description;
            Some(FoundPlace {
                system: id.clone(),
                system_type: described.system_type.clone(),
                title: described.title.clone(),
                operations: known.operations().map(str::to_owned).collect(),
                tags: place.tags.clone(),
                geo_pose: place.geo_pose(),
                distance_m,
            })
        };
        let places = match query.place {
            Place::Near(near, radius) => {
                let near = self.places.near(frame.to_earth(near), radius, query.limit, fits)?;
                near.into_iter().filter_map(|(distance, id, place)| found(Some(distance), id, place)).collect()
            }
            Place::Within(bounds) => {
                let mut places = Vec::new();
                for (id, place) in self.places.within(&bounds, frame) {
                    if places.len() < query.limit && fits(id, place)? {
                        places.extend(found(None, id, place));
                    }
                }
                places
            }
        };
        Ok(RegisteredPlacesFound { places })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use twinway_protocol::{
        EntityId, Mailbox, Problem, ProblemKind, UserId,
        message::{
            FindRegisteredPlaces, ForgetThirdPartySystem, KeepStanding, KeepThirdPartySystem, MetaverseSystemMsg,
            PlacesWanted, RegisteredPlacesFound, TpsdMsg, TpsrMsg,
        },
        registry::{Health, Standing, ThirdPartySystem},
        spatial::{Bounds, Frame, GeoPose, GeoPosition, Place, PlaceQuery, Point, Quaternion},
    };

    use crate::{
        Settings,
        sif::{
            testing::{METAVERSE, answer, json, key, registered, system_id},
            tpsd::Tpsd,
        },
        trial::Trial,
    };

    const TPSR: EntityId = EntityId::new(TpsrMsg::KIND, 0, 0);

    /// A shop that offers `order`, so many metres east of the map's anchor.
    fn shop(id: &str, lon: f64, more: &str) -> Arc<ThirdPartySystem> {
        let mut system = ThirdPartySystem::clone(&registered(id, 1));
        let place = format!(r#"{{"geoPose": {{"position": {{"lat": 0, "lon": {lon}, "h": 0}}}}{more}}}"#);
        system.description.properties.insert("place".to_owned(), json(&place));
        Arc::new(system)
    }

    fn tpsd(systems: &[Arc<ThirdPartySystem>]) -> Trial<Tpsd> {
        let mut tpsd = Trial::new(EntityId::new(TpsdMsg::KIND, 0, 0), &Settings::default());
        for system in systems {
            tpsd.deliver(TPSR, key(1), KeepThirdPartySystem { system: Arc::clone(system) });
        }
        tpsd
    }

    fn near(radius: f64) -> PlacesWanted {
        let position = GeoPosition { lat: 0.0, lon: 0.0, h: 0.0 };
        let place = Place::Near(Point::default(), radius);
        PlacesWanted {
            metaverse: system_id("plaza"),
            user: UserId::new("ada").ok(),
            capabilities: None,
            frame: Frame::new(GeoPose { position, quaternion: Quaternion::IDENTITY }),
            query: PlaceQuery { place, classes: Default::default(), services: Default::default(), limit: 10 },
            hidden: Vec::new(),
            filter: None,
        }
    }

    fn ask(tpsd: &mut Trial<Tpsd>, wanted: PlacesWanted) -> Result<RegisteredPlacesFound, Problem> {
        assert_eq!(METAVERSE.kind(), MetaverseSystemMsg::KIND);
        answer(tpsd.deliver(METAVERSE, key(5), FindRegisteredPlaces { wanted: Box::new(wanted) }), METAVERSE, key(5))
            .expect("it is answered at once")
    }

    fn found(tpsd: &mut Trial<Tpsd>, question: PlacesWanted) -> Vec<String> {
        let places = ask(tpsd, question).expect("it is understood").places;
        places.iter().map(|place| place.system.to_string()).collect()
    }

    /// FGMV-28 7.3.3: for this user, these preferences, this device, at this place.
    #[test]
    fn services_of_a_place_are_found_by_place_filter_device_and_permission() {
        // A ten-thousandth of a degree at the equator: 11.13 m.
        let mut tpsd = tpsd(&[
            shop("far", 0.01, ""),
            shop("near", 0.0001, r#", "tags": ["manual"]"#),
            shop("wide", 0.01, r#", "coverageM": 2000"#),
            shop("lens", 0.0002, r#", "requires": ["camera", "ar"]"#),
            shop("club", 0.0003, r#", "users": ["eve"]"#),
            shop("moon", 0.0004, r#", "metaverses": ["elsewhere"]"#),
            registered("nowhere", 1),
        ]);
        assert_eq!(found(&mut tpsd, near(100.0)), ["wide", "near", "lens"]);
        assert_eq!(found(&mut tpsd, near(f64::INFINITY)), ["wide", "near", "lens", "far"]);
        let places = ask(&mut tpsd, near(100.0)).expect("it is understood").places;
        let metres: Vec<_> = places.iter().filter_map(|place| place.distance_m).map(f64::round).collect();
        assert_eq!(metres, [0.0, 11.0, 22.0]);
        assert!(places[0].operations.contains("order"));
        // The device.
        let camera = PlacesWanted { capabilities: Some(["camera".to_owned()].into()), ..near(100.0) };
        assert_eq!(found(&mut tpsd, camera), ["wide", "near"]);
        // Who may find it.
        let eve = PlacesWanted { user: UserId::new("eve").ok(), ..near(40.0) };
        assert_eq!(found(&mut tpsd, eve), ["wide", "near", "lens", "club"]);
        let elsewhere = PlacesWanted { metaverse: system_id("elsewhere"), user: None, ..near(60.0) };
        assert_eq!(found(&mut tpsd, elsewhere), ["wide", "near", "lens", "moon"]);
        let vault = Bounds { min: Point::new(5.0, -5.0, -5.0), max: Point::new(15.0, 5.0, 5.0) };
        let hidden = PlacesWanted { hidden: vec![vault], ..near(100.0) };
        assert_eq!(found(&mut tpsd, hidden), ["wide", "lens"]);
        // What is preferred, and how many.
        let filter = |text: &str| PlacesWanted { filter: Some(text.to_owned()), ..near(100.0) };
        assert_eq!(found(&mut tpsd, filter("system.id == 'near'")), ["near"]);
        assert_eq!(
            ask(&mut tpsd, filter("system.nonsense == 1")).expect_err("no such field").kind,
            ProblemKind::InvalidQuery
        );
        let query = |query: PlaceQuery| PlacesWanted { query, ..near(100.0) };
        assert_eq!(found(&mut tpsd, query(PlaceQuery { limit: 1, ..near(100.0).query })), ["wide"]);
        let services = ["sing".to_owned()].into();
        assert!(found(&mut tpsd, query(PlaceQuery { services, ..near(100.0).query })).is_empty());
        let classes = ["boat".to_owned()].into();
        assert!(found(&mut tpsd, query(PlaceQuery { classes, ..near(100.0).query })).is_empty());
        // A box, in three dimensions.
        let flat =
            |z: f64| Place::Within(Bounds { min: Point::new(0.0, -5.0, z), max: Point::new(30.0, 5.0, z + 1.0) });
        assert_eq!(
            found(&mut tpsd, query(PlaceQuery { place: flat(-0.5), ..near(0.0).query })),
            ["lens", "near", "wide"]
        );
        assert_eq!(found(&mut tpsd, query(PlaceQuery { place: flat(50.0), ..near(0.0).query })), ["wide"]);
        // What moves, expires or goes is found so by the next question.
        tpsd.deliver(TPSR, key(1), KeepThirdPartySystem { system: shop("near", 1.0, "") });
        assert_eq!(found(&mut tpsd, near(100.0)), ["wide", "lens"]);
        let standing = Arc::new(Standing { health: Health::Expired, ..Standing::default() });
        tpsd.deliver(TPSR, key(1), KeepStanding { system: system_id("lens"), standing });
        let entity = registered("wide", 1).entity;
        tpsd.deliver(TPSR, key(1), ForgetThirdPartySystem { system: system_id("wide"), entity });
        assert!(found(&mut tpsd, near(100.0)).is_empty());
    }
}
