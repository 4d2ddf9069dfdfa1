//! Twenty clients put the same new object at once, on the condition that it is not there: one may win.

use std::ops::Range;

use futures::future::join_all;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};

use super::server::{Outcome, Server};

/// What every server runs before it is used.
pub(crate) const START: Range<usize> = 0..5;

pub(crate) const CLIENTS: usize = 20;

/// Runs the given rounds of both races, and fails if a store lets nobody or more than one win. Each round is one object,
/// so no round may be run twice on a server.
pub(crate) async fn check(server: &Server, rounds: Range<usize>) -> Outcome<()> {
    // Clients of their own, as in processes of their own: no connection and no state is shared.
    let clients: Vec<_> = (0..CLIENTS).map(|_| server.bucket()).collect::<Outcome<_>>()?;
    for round in rounds {
        let path = Path::from(format!("race/{round}"));
        let absent = vec![PutMode::Create; CLIENTS];
        one_winner(&clients, &path, "absent", absent)
            .await
            .map_err(|error| format!("put if absent, round {round}: {error}"))?;
        let first = clients.first().ok_or("no client")?.head(&path).await?;
        let seen = PutMode::Update(UpdateVersion { e_tag: first.e_tag, version: first.version });
        let unchanged = vec![seen; CLIENTS];
        one_winner(&clients, &path, "same", unchanged)
            .await
            .map_err(|error| format!("put if same, round {round}: {error}"))?;
    }
    Ok(())
}

/// Puts through all clients at once, and checks that what is stored is what the one winner put.
pub(crate) async fn one_winner<S: ObjectStore>(
    clients: &[S],
    path: &Path,
    race: &str,
    modes: Vec<PutMode>,
) -> Outcome<()> {
    let puts = clients.iter().zip(modes).enumerate().map(|(client, (store, mode))| async move {
        // Entity tags are made from the content: a body that equals the one it replaces would let the next client win too.
        let body = PutPayload::from(body(race, client));
        store.put_opts(path, body, PutOptions::from(mode)).await
    });
    let mut winners = Vec::new();
    for (client, outcome) in join_all(puts).await.into_iter().enumerate() {
        match outcome {
            Ok(_) => winners.push(client),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let [winner] = winners.as_slice() else {
        return Err(
            format!("{} clients won, this store must not hold slates, winners={winners:?}", winners.len()).into()
        );
    };
    let store = clients.first().ok_or("no client")?;
    let stored = store.get(path).await?.bytes().await?;
    if stored != body(race, *winner) {
        return Err(format!("client {winner} won, and the object holds {stored:?}").into());
    }
    Ok(())
}

fn body(race: &str, client: usize) -> String {
    format!("put if {race} by client {client}")
}
