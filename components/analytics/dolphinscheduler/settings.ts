import * as fs from "node:fs";
import * as path from "node:path";

/** Where servers mount their settings. */
export const SETTINGS = "/etc/dolphinscheduler";
/** Where servers write the logs of tasks. */
export const TASK_LOGS = "/task-logs";
/** The script among the settings that keeps these small. */
export const CLEAN_LOGS = "clean-task-logs.sh";

/** Inputs of {@link settingsFiles}. */
export interface SettingsArgs {
  /** Whether the server runs tasks and writes their logs. */
  readonly taskLogs?: boolean;
  /** Variables with credentials that it hides from tasks, which are processes beside it. */
  readonly hides?: readonly string[];
}

/** The environment that names the settings. */
export const SETTINGS_ENV = {
  SPRING_CONFIG_ADDITIONALLOCATION: `file:${SETTINGS}/`,
  LOGGING_CONFIG: `${SETTINGS}/logback.xml`,
};

/** What a server reads besides its environment: of a server of tasks, their logs; of one beside tasks, what it hides from them. */
export function settingsFiles({ taskLogs = false, hides }: SettingsArgs): Record<string, string> {
  const sources = ["registry.xml", ...(hides ? ["hide.xml"] : [])].map((file) => `file:${SETTINGS}/${file}`);
  return {
    "logback.xml": logback(taskLogs),
    // Not in the environment: Spring Cloud's own context, which has no registry, would also read the beans.
    "application.yaml": `spring.main.sources: ${sources.join(",")}\n`,
    "registry.xml": START_REGISTRY,
    ...(hides && { "hide.xml": hideFromTasks(hides) }),
    ...(taskLogs && read(CLEAN_LOGS)),
  };
}

// Nothing in 3.2.2 starts this registry: entries would not be renewed, lost servers not removed, and nobody notified.
const START_REGISTRY = beans(`
  <bean class="org.springframework.beans.factory.config.MethodInvokingBean">
    <property name="targetObject" ref="jdbcRegistry"/>
    <property name="targetMethod" value="start"/>
  </bean>`);

/**
 * Once Java has read its environment, takes credentials out of what its children inherit, and makes the process one of whose
 * memory and environment processes of the same user see nothing (PR_SET_DUMPABLE, 4). CustomScopeConfigurer does nothing
 * itself; what a bean of its kind depends on is made before any server starts.
 */
function hideFromTasks(variables: readonly string[]): string {
  const unset = variables.map(
    (variable) => `
        <value>#{T(com.sun.jna.platform.unix.LibC).INSTANCE.unsetenv("${variable}")}</value>`,
  );
  return beans(`
  <bean id="hidden" class="java.util.ArrayList">
    <constructor-arg>
      <list>
        <value>#{T(com.sun.jna.Function).getFunction("c", "prctl").invokeInt(new Object[]{4, 0L, 0L, 0L, 0L})}</value>${unset.join("")}
      </list>
    </constructor-arg>
  </bean>
  <bean class="org.springframework.beans.factory.config.CustomScopeConfigurer" depends-on="hidden"/>`);
}

function beans(definitions: string): string {
  return `<beans xmlns="http://www.springframework.org/schema/beans"
       xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
       xsi:schemaLocation="http://www.springframework.org/schema/beans https://www.springframework.org/schema/beans/spring-beans.xsd">${definitions}
</beans>
`;
}

/** Logs everything to standard output, and each task also to its own file, which the UI shows. */
function logback(taskLogs: boolean): string {
  // The upload to the object store looks for files under this property.
  const perTask = `
  <property scope="context" name="log.base.ctx" value="${TASK_LOGS}"/>
  <appender name="TASKLOGFILE" class="ch.qos.logback.classic.sift.SiftingAppender">
    <filter class="org.apache.dolphinscheduler.plugin.task.api.log.TaskLogFilter"/>
    <Discriminator class="org.apache.dolphinscheduler.plugin.task.api.log.TaskLogDiscriminator">
      <key>taskInstanceLogFullPath</key>
      <logBase>${TASK_LOGS}</logBase>
    </Discriminator>
    <sift>
      <appender name="FILE-\${taskInstanceLogFullPath}" class="ch.qos.logback.core.FileAppender">
        <file>\${taskInstanceLogFullPath}</file>
        <encoder><pattern>[%level] %date{ISO8601} - %message%n</pattern></encoder>
      </appender>
    </sift>
  </appender>`;
  return `<configuration>
  <conversionRule conversionWord="message" converterClass="org.apache.dolphinscheduler.common.log.SensitiveDataConverter"/>
  <appender name="STDOUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%date{ISO8601} %level %logger{10} [WI-%X{workflowInstanceId:-0}][TI-%X{taskInstanceId:-0}] %message%n</pattern></encoder>
  </appender>${taskLogs ? perTask : ""}
  <!-- It fails to renew locks, every 2 s: docs/adr/0023-dolphinscheduler.md. -->
  <logger name="org.apache.dolphinscheduler.plugin.registry.jdbc.RegistryLockManager" level="OFF"/>
  <root level="INFO">
    <appender-ref ref="STDOUT"/>${taskLogs ? '\n    <appender-ref ref="TASKLOGFILE"/>' : ""}
  </root>
</configuration>
`;
}

/** Files beside this one. */
export function read(...files: readonly string[]): Record<string, string> {
  return Object.fromEntries(files.map((file) => [file, fs.readFileSync(path.join(__dirname, file), "utf8")]));
}
