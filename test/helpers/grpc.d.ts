/** What cri.ts uses of the packages of gRPC, so that types can be checked where those are not installed yet. */
declare module "@grpc/grpc-js" {
  export interface ServiceError extends Error {
    details: string;
  }
  export interface Client {
    close(): void;
  }
  export type ServiceClientConstructor = new (address: string, credentials: object) => Client;
  export const credentials: { createInsecure(): object };
  export function loadPackageDefinition(definition: object): object;
}

declare module "@grpc/proto-loader" {
  export function loadSync(
    file: string,
    options: { keepCase: boolean; enums: unknown; longs: unknown; defaults: boolean },
  ): object;
}
