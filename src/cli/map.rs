//! `twinway map`: spatial maps (FGMV-28 7.3).

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use twinway::{
    client::Client,
    protocol::{
        EntryId, MapId, UserId,
        spatial::{EntryView, LocalizationRequest, MapView, ObservationId, Point, PoseDocument, svg},
    },
};

use super::{
    exit::Failure,
    output::{Format, Output},
};

#[derive(Debug, Subcommand)]
pub(crate) enum MapCommand {
    /// Lists the maps of a metaverse system (`--as`).
    List,
    /// Shows what stands on a map.
    Show {
        /// Its id.
        id: MapId,
        /// Only what this user may see.
        #[arg(long)]
        user: Option<UserId>,
    },
    /// Writes a map down: a glTF 2.0 scene, which viewers open, a plan as SVG, or JSON.
    Export {
        /// Its id.
        id: MapId,
        /// As what.
        #[arg(long, value_enum, default_value_t)]
        form: Form,
        /// Only what this user may see.
        #[arg(long)]
        user: Option<UserId>,
        /// The file to write; without one, it goes to stdout.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Shows what is at a place: the nearest first (FGMV-28 7.3.3).
    Near(Near),
    /// Deletes a map, with all that stands on it and was recorded for it.
    Delete {
        /// Its id.
        id: MapId,
    },
    /// Takes an entry off a map.
    Remove {
        /// The map's id.
        id: MapId,
        /// The entry's id.
        entry: EntryId,
    },
    /// Lists what users' devices recorded for a map.
    Observations {
        /// The map's id.
        id: MapId,
    },
    /// Writes the bytes of an observation to a file.
    Observation {
        /// Its id.
        id: ObservationId,
        /// The file.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Forgets an observation: its bytes are gone, unless others name them.
    Forget {
        /// Its id.
        id: ObservationId,
    },
}

/// What a map is written as.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Form {
    /// glTF 2.0.
    #[default]
    Gltf,
    /// JSON.
    Json,
    /// A plan, seen from above, for people.
    Svg,
}

#[derive(Debug, Args)]
pub(crate) struct Near {
    /// The map's id.
    id: MapId,
    /// Metres to the east of the map's anchor.
    #[arg(allow_negative_numbers = true)]
    x: f64,
    /// Metres to the north.
    #[arg(allow_negative_numbers = true)]
    y: f64,
    /// Metres up.
    #[arg(allow_negative_numbers = true, default_value_t = 0.0)]
    z: f64,
    /// How far from there, in metres.
    #[arg(long, value_name = "M")]
    radius: Option<f64>,
    /// How many.
    #[arg(long, default_value_t = 10)]
    limit: u32,
    /// Only entries of these classes.
    #[arg(long, value_name = "CLASS")]
    class: Vec<String>,
    /// Only entries at which this operation is offered.
    #[arg(long, value_name = "OPERATION")]
    service: Vec<String>,
    /// Only third-party systems of which this CEL expression holds, as in searches.
    #[arg(long, value_name = "CEL")]
    filter: Option<String>,
    /// For this user.
    #[arg(long)]
    user: Option<UserId>,
}

pub(crate) async fn run(client: Client, command: MapCommand, output: &mut Output) -> Result<(), Failure> {
    match command {
        MapCommand::List => {
            let maps = client.maps().await?;
            if output.format() == Format::Json {
                return output.json(&maps);
            }
            output.table(&["MAP"], maps.iter().map(|map| vec![map.to_string()]))
        }
        MapCommand::Show { id, user } => {
            let map = whole(&client, &id, user.as_ref()).await?;
            if output.format() == Format::Json {
                return output.json(&map);
            }
            let rows = map.entries.iter().map(|entry| row(entry, None));
            output.table(&["ENTRY", "CLASS", "X", "Y", "Z", "SINCE", "SERVICES"], rows)
        }
        MapCommand::Export { id, form, user, to } => {
            let text = match form {
                Form::Gltf => client.map_scene(&id, user.as_ref()).await?.as_str().to_owned(),
                Form::Svg => svg(&whole(&client, &id, user.as_ref()).await?),
                Form::Json => serde_json::to_string_pretty(&whole(&client, &id, user.as_ref()).await?)
                    .map_err(|error| Failure::other(error.to_string()))?,
            };
            match to {
                None => output.line(&text),
                Some(file) => {
                    std::fs::write(&file, text).map_err(|error| Failure::other(format!("{}: {error}", file.display())))
                }
            }
        }
        MapCommand::Near(near) => show_near(&client, near, output).await,
        MapCommand::Delete { id } => Ok(client.delete_map(&id).await?),
        MapCommand::Remove { id, entry } => Ok(client.remove_map_entry(&id, &entry).await?),
        MapCommand::Observations { id } => list_observations(&client, &id, output).await,
        MapCommand::Observation { id, to } => {
            let unwritten = |error| Failure::other(format!("{}: {error}", to.display()));
            let mut file = std::fs::File::create(&to).map_err(unwritten)?;
            client.read_observation(&id, &mut file).await?;
            Ok(())
        }
        MapCommand::Forget { id } => Ok(client.delete_observation(&id).await?),
    }
}

/// All pages of a map.
async fn whole(client: &Client, id: &MapId, user: Option<&UserId>) -> Result<MapView, Failure> {
    let mut map = client.map(id, user, None, None).await?;
    while let Some(after) = map.next.take() {
        let page = client.map(id, user, Some(&after), None).await?;
        map.entries.extend(page.entries);
        map.next = page.next;
    }
    Ok(map)
}

async fn list_observations(client: &Client, id: &MapId, output: &mut Output) -> Result<(), Failure> {
    let mut page = client.observations(id, None, None).await?;
    let mut kept = Vec::new();
    loop {
        kept.append(&mut page.items);
        let Some(cursor) = page.next.take() else { break };
        page = client.observations(id, Some(&cursor), None).await?;
    }
    if output.format() == Format::Json {
        return output.json(&kept);
    }
    let rows = kept.iter().map(|kept| {
        let serial = kept.serial_number.clone().unwrap_or_default();
        let (media, bytes) = (kept.media_type.name().to_owned(), kept.bytes.to_string());
        vec![kept.id.to_string(), kept.user.to_string(), media, bytes, serial, kept.at.to_string()]
    });
    output.table(&["OBSERVATION", "USER", "TYPE", "BYTES", "SERIAL NUMBER", "AT"], rows)
}

async fn show_near(client: &Client, near: Near, output: &mut Output) -> Result<(), Failure> {
    let Near { id, x, y, z, radius, limit, class, service, filter, user } = near;
    let request = LocalizationRequest {
        near: Some(PoseDocument { local: Some(Point::new(x, y, z)), ..PoseDocument::default() }),
        radius_m: radius,
        limit: Some(limit),
        classes: class.into_iter().collect(),
        services: service.into_iter().collect(),
        filter,
        ..LocalizationRequest::default()
    };
    let found = client.find_at_place(&id, user.as_ref(), &request).await?;
    if output.format() == Format::Json {
        return output.json(&found);
    }
    let rows = found.entries.iter().map(|found| row(&found.entry, found.distance_m));
    output.table(&["ENTRY", "CLASS", "METRES", "X", "Y", "Z", "SINCE", "SERVICES"], rows)?;
    if found.places.is_empty() {
        return Ok(());
    }
    let rows = found.places.iter().map(|place| {
        let metres = place.distance_m.map(|metres| format!("{metres:.2}")).unwrap_or_default();
        let operations: Vec<_> = place.operations.iter().map(String::as_str).collect();
        vec![place.system.to_string(), place.system_type.clone(), metres, operations.join(" ")]
    });
    output.table(&["SYSTEM", "TYPE", "METRES", "OPERATIONS"], rows)
}

fn row(entry: &EntryView, distance: Option<f64>) -> Vec<String> {
    let at = entry.pose.local;
    let services: Vec<_> =
        entry.services.iter().map(|service| format!("{}/{}", service.system, service.operation)).collect();
    let distance = distance.map(|metres| format!("{metres:.2}"));
    let mut row = vec![entry.id.to_string(), entry.class.clone()];
    row.extend(distance);
    row.extend(at.array().map(|coordinate| format!("{coordinate:.3}")));
    row.extend([entry.at.to_string(), services.join(" ")]);
    row
}
