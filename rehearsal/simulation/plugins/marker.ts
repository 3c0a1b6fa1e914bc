/** Annotation of the kube-system namespace that tells a simulated cluster from a real one; the stand-ins demand it. */
export const REHEARSAL_ANNOTATION = "carbon.254carbon.com/rehearsal";
