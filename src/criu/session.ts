/** One job of criu over a socket: the request, what criu reports on the way, and its answer. */
import { isErrno } from "../errors.ts";
import { POLLIN } from "../sys/constants.ts";
import { closeQuiet } from "../sys/file.ts";
import { pollFd } from "../sys/process.ts";
import { recvMessage, sendMsg } from "../sys/socket.ts";
import { type CriuRequest, type CriuResponse, REQUEST, RESPONSE, TYPE } from "./messages.ts";
import { decode, encode } from "./protobuf.ts";

const MAX_BYTES = 1 << 16;

/** A point that criu has come to; it waits until whoever is told has done what is to be done there. */
export interface Notice {
  script: string;
  /** Of the first process that is restored, as the host sees it; 0 where there is none. */
  pid: number;
  /** Descriptors that came along; to be closed by whoever is told. */
  fds: readonly number[];
}

/** What is done when nothing has come from criu for so long. */
export interface Silence {
  afterMs: number;
  act(): void;
}

/**
 * @param onNotice what it throws makes criu give up, and is thrown from here
 * @param silence again and again, while it lasts
 * @returns undefined when criu has ended without an answer
 */
export function callCriu(
  socket: number,
  request: CriuRequest,
  onNotice: (notice: Notice) => void,
  silence?: Silence,
): CriuResponse | undefined {
  let failure: { error: unknown } | undefined;
  send(socket, request);
  for (;;) {
    const response = receive(socket, silence);
    if (response?.type !== TYPE.NOTIFY) {
      for (const fd of response?.fds ?? []) closeQuiet(fd);
      if (failure !== undefined) throw failure.error;
      return response;
    }
    try {
      onNotice({ script: response.notify?.script ?? "", pid: response.notify?.pid ?? 0, fds: response.fds });
    } catch (error) {
      failure ??= { error };
    }
    send(socket, { type: TYPE.NOTIFY, notifySuccess: failure === undefined });
  }
}

/** That criu has died is for receive() to say. */
function send(socket: number, request: CriuRequest): void {
  try {
    sendMsg(socket, encode(REQUEST, request));
  } catch (error) {
    if (!isErrno(error, "EPIPE", "ECONNRESET")) throw error;
  }
}

function receive(socket: number, silence: Silence | undefined): (CriuResponse & { fds: number[] }) | undefined {
  try {
    if (silence !== undefined) while (pollFd(socket, POLLIN, silence.afterMs) === 0) silence.act();
    const { data, fds } = recvMessage(socket, MAX_BYTES);
    return data.length === 0 ? undefined : { ...decode(RESPONSE, data), fds };
  } catch (error) {
    if (isErrno(error, "ECONNRESET")) return undefined;
    throw error;
  }
}
