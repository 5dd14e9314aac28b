/**
 * The client of the mesh tutorial that the base protocol comes from, in its own logic: no subprotocol; who is there
 * makes the offer to the one who joined; a new connection for every offer; messages `{to, event, data}`; a text `ping`
 * now and then. It runs inside a page and must not refer to anything outside itself.
 *
 * @param {{url: string}} options
 */
export async function tutorialClient({ url }) {
  const local = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
  const state = { id: "", connections: {}, events: [], pongs: 0, local };
  globalThis.tutorial = state;
  const socket = new WebSocket(url);
  const send = (to, event, data) => socket.send(JSON.stringify({ to: [to], event, data }));

  const start = (peerId) => {
    const connection = new RTCPeerConnection({ iceServers: [] });
    state.connections[peerId] = connection;
    for (const track of local.getTracks()) connection.addTrack(track, local);
    connection.onicecandidate = ({ candidate }) => candidate && send(peerId, "candidate", candidate);
    connection.ontrack = ({ streams, track }) => {
      let video = document.getElementById(`tutorial-${peerId}`);
      if (!video) {
        video = document.createElement("video");
        video.id = `tutorial-${peerId}`;
        video.autoplay = video.muted = true;
        document.body.append(video);
      }
      video.srcObject = streams[0] ?? new MediaStream([track]);
    };
    return connection;
  };

  socket.onopen = () => socket.send("ping");
  socket.onmessage = async (message) => {
    if (message.data === "pong") {
      state.pongs += 1;
      return;
    }
    const { event, data, from } = JSON.parse(message.data);
    state.events.push(event);
    switch (event) {
      case "authenticated":
        state.id = data.peer_id;
        break;
      case "joined": {
        const connection = start(data.peer_id);
        const offer = await connection.createOffer();
        await connection.setLocalDescription(offer);
        send(data.peer_id, "offer", offer);
        break;
      }
      case "offer": {
        const connection = start(from);
        await connection.setRemoteDescription(data);
        const answer = await connection.createAnswer();
        await connection.setLocalDescription(answer);
        send(from, "answer", answer);
        break;
      }
      case "answer":
        await state.connections[from].setRemoteDescription(data);
        break;
      case "candidate":
        await state.connections[from].addIceCandidate(data);
        break;
      case "left":
        state.connections[data.peer_id]?.close();
        delete state.connections[data.peer_id];
        document.getElementById(`tutorial-${data.peer_id}`)?.remove();
        break;
    }
  };
}
